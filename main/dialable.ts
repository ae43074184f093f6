/** An address to dial for one that is bound. */
export function dialable(bound: string): string {
  return bound === '0.0.0.0' ? '127.0.0.1' : bound === '::' ? '::1' : bound;
}
