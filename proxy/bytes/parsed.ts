/**
 * What every parser of a stranger's bytes answers. `bytes` always start at the beginning of the message; nothing is
 * consumed. `atLeast` is the total number of bytes without which trying again is pointless: it keeps a client that
 * sends single bytes from making us parse at each of them.
 */
export type Parsed<T, R = string> =
  | { readonly kind: 'match'; readonly value: T }
  | { readonly kind: 'reject'; readonly reason: R }
  | { readonly kind: 'need-more'; readonly atLeast: number };

export function match<T>(value: T): { readonly kind: 'match'; readonly value: T } {
  return { kind: 'match', value };
}

export function reject<R extends string>(reason: R): { readonly kind: 'reject'; readonly reason: R } {
  return { kind: 'reject', reason };
}

export function needMore(atLeast: number): { readonly kind: 'need-more'; readonly atLeast: number } {
  return { kind: 'need-more', atLeast };
}
