const SUFFIXES: Readonly<Record<string, number>> = {
  ...{ n: 1e-9, u: 1e-6, m: 1e-3, '': 1, k: 1e3, M: 1e6, G: 1e9, T: 1e12, P: 1e15, E: 1e18 },
  ...{ Ki: 2 ** 10, Mi: 2 ** 20, Gi: 2 ** 30, Ti: 2 ** 40, Pi: 2 ** 50, Ei: 2 ** 60 },
};

/** A quantity of Kubernetes, such as 12345678n or 51200Ki; null for what is none. The client library's reader is not exported. */
export function quantityOf(text: string): number | null {
  const [, value = '', suffix = ''] = /^(\d+(?:\.\d+)?(?:e\d{1,2})?)([A-Za-z]*)$/.exec(text) ?? [];
  const factor = SUFFIXES[suffix];
  return value === '' || factor === undefined ? null : Number(value) * factor;
}
