/** An address to dial for one that is bound. `::` takes IPv4, too, and is IPv4 alone where the kernel has no IPv6. */
export function dialable(bound: string): string {
  return bound === '0.0.0.0' || bound === '::' ? '127.0.0.1' : bound;
}
