/** Reading what the API server sends: JSON of which only a little is looked at, each part for itself. */
export type JsonRecord = Readonly<Record<string, unknown>>;

export function isRecord(value: unknown): value is JsonRecord {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Undefined when it is no JSON. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

export function recordAt(of: JsonRecord, key: string): JsonRecord {
  const value = of[key];
  return isRecord(value) ? value : {};
}

export function listAt(of: JsonRecord, key: string): readonly JsonRecord[] {
  const value = of[key];
  return Array.isArray(value) ? value.filter(isRecord) : [];
}

export function textAt(of: JsonRecord, key: string): string {
  const value = of[key];
  return typeof value === 'string' ? value : '';
}

export function numberAt(of: JsonRecord, key: string): number | null {
  const value = of[key];
  return typeof value === 'number' ? value : null;
}

export function timeAt(of: JsonRecord, key: string): number | null {
  const ms = Date.parse(textAt(of, key));
  return Number.isNaN(ms) ? null : ms;
}
