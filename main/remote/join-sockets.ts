import type { Socket } from 'node:net';

/** Passes bytes both ways, with back-pressure, until one side ends or breaks; then both are closed. */
export function joinSockets(one: Socket, other: Socket): void {
  for (const [from, to] of [
    [one, other],
    [other, one],
  ] as const) {
    from.pipe(to);
    from.on('error', () => to.destroy());
    from.on('close', () => to.destroy());
  }
}
