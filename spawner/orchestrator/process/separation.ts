/**
 * Does this machine keep process pods apart, from each other and from Podgate's own files? As root, each pod runs under a
 * user of its own; otherwise all of them have the rights of whoever started Podgate.
 */
export function arePodsSeparated(): boolean {
  return process.getuid?.() === 0;
}
