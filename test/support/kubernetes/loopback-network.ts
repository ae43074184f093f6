import { once } from 'node:events';
import { createServer, type Server } from 'node:net';

/** Networks of 127.0.0.0/8: pods of a stand-in get 127.1.0.0/16 or a later one, control planes and Services the upper ones. */
export const POD_NETWORKS = { first: 1, last: 199 } as const;
export const CONTROL_PLANE_NETWORKS = { first: 200, last: 254 } as const;
/** Where the stand-in of that network serves logs and the like; its pods begin at .0.2. */
export const nodeAddress = (number: number): string => `127.${number}.0.1`;
export const POSSIBLE_NODE_ADDRESSES = Array.from({ length: POD_NETWORKS.last }, (_, index) => nodeAddress(index + 1));
const CLAIM_PORT = 10_256;

export interface LoopbackNetwork {
  /** Second number of its addresses: 127.<number>.0.0/16. */
  readonly number: number;
  release(): Promise<void>;
}

/**
 * Takes the first /16 that no other test of this machine holds, for as long as this process lives. A listening socket on
 * its last address is the claim: it ends with the process, whatever happens to it. With a network of its own a test needs
 * no free ports, which another program may take between two starts of a server.
 */
export async function claimLoopbackNetwork(range: { readonly first: number; readonly last: number }) {
  for (let number = range.first; number <= range.last; number += 1) {
    const server = createServer((socket) => socket.destroy());
    if (await listens(server, `127.${number}.255.254`)) {
      server.unref();
      return { number, release: () => closed(server) } satisfies LoopbackNetwork;
    }
  }
  throw new Error(`every loopback network 127.${range.first}-${range.last}.0.0/16 is taken`);
}

async function listens(server: Server, host: string): Promise<boolean> {
  server.listen({ host, port: CLAIM_PORT, exclusive: true });
  try {
    await once(server, 'listening');
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EADDRINUSE') return false;
    throw error;
  }
}

async function closed(server: Server): Promise<void> {
  if (!server.listening) return;
  const end = once(server, 'close');
  server.close();
  await end;
}
