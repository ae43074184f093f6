import { randomInt } from 'node:crypto';
import { createServer } from 'node:net';
import { DEFAULT_STANZA } from '../../../core/ids.ts';

/** First and last port a pod may get. */
export type PortRange = readonly [number, number];

/** Below the range from which Linux takes the ports of outgoing connections: none of those can be in the way. */
export const DEFAULT_PORT_RANGE: PortRange = [20_000, 29_999];

/** One free loopback port per stanza, none of `taken`. Throws when the range has too few. */
export async function allocatePorts(
  stanzas: readonly string[],
  range: PortRange,
  taken: ReadonlySet<number>,
): Promise<Record<string, number>> {
  const [first, last] = range;
  const size = last - first + 1;
  const start = randomInt(size);
  const ports: Record<string, number> = {};
  let tried = 0;
  for (const stanza of stanzas) {
    for (;;) {
      if (tried === size) throw new Error(`no free port between ${first} and ${last}`);
      const port = first + ((start + tried) % size);
      tried += 1;
      if (taken.has(port) || !(await isPortFree(port))) continue;
      ports[stanza] = port;
      break;
    }
  }
  return ports;
}

export async function arePortsFree(ports: readonly number[]): Promise<boolean> {
  for (const port of ports) if (!(await isPortFree(port))) return false;
  return true;
}

function isPortFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen({ host: '127.0.0.1', port, exclusive: true }, () => server.close(() => resolve(true)));
  });
}

export function portVariable(stanza: string): string {
  return `PORT_${stanza.toUpperCase()}`;
}

/** PORT for the default stanza, PORT_<STANZA> for each. */
export function portVariables(ports: Readonly<Record<string, number>>): Record<string, string> {
  const variables: Record<string, string> = {};
  for (const [stanza, port] of Object.entries(ports)) {
    variables[portVariable(stanza)] = String(port);
    if (stanza === DEFAULT_STANZA) variables['PORT'] = String(port);
  }
  return variables;
}
