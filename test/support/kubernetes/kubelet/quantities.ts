const FACTORS: Readonly<Record<string, number>> = {
  '': 1,
  m: 1e-3,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
};

/** A quantity of Kubernetes ("250m", "3Gi") as a number. */
export function quantityOf(text: string): number {
  const parts = /^([0-9.]+)([a-zA-Z]*)$/.exec(text);
  const factor = FACTORS[parts?.[2] ?? ''];
  if (parts === null || factor === undefined) throw new Error(`no quantity: ${text}`);
  return Number(parts[1]) * factor;
}

export const millicoresOf = (text: string): number => Math.round(quantityOf(text) * 1_000);
export const bytesOf = quantityOf;
