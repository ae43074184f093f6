import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { isIPv6 } from 'node:net';

const [A, AAAA] = [1, 28];
const HEADER_BYTES = 12;

/** Of a name: addresses, or what to answer the question of that number (from 0), for names that change their minds. */
export type Answers = readonly string[] | ((question: number) => readonly string[]);

/**
 * A name server for A and AAAA on loopback, with answers that no well-behaved server gives. Every other name does not exist.
 * Records have no time to live.
 */
export class NameServer {
  readonly #socket = createSocket('udp4');
  readonly #asked = new Map<string, number>();

  static async start(names: Readonly<Record<string, Answers>>): Promise<NameServer> {
    const server = new NameServer();
    const socket = server.#socket;
    socket.on('message', (query, { port, address }) => socket.send(server.#answer(query, names), port, address));
    socket.bind(0, '127.0.0.1');
    await once(socket, 'listening');
    return server;
  }

  get address(): string {
    return `127.0.0.1:${this.#socket.address().port}`;
  }

  close(): void {
    this.#socket.close();
  }

  #answer(query: Buffer, names: Readonly<Record<string, Answers>>): Buffer {
    const { name, end } = nameIn(query);
    const type = query.readUInt16BE(end);
    const answers = names[name];
    const key = `${name} ${type}`;
    const asked = this.#asked.get(key) ?? 0;
    this.#asked.set(key, asked + 1);
    const addresses = typeof answers === 'function' ? answers(asked) : (answers ?? []);
    const records = addresses.filter((address) => isIPv6(address) === (type === AAAA)).map(recordOf);
    const head = Buffer.from(query.subarray(0, end + 4));
    // A response, recursion available; NXDOMAIN for a name that nobody has.
    head.writeUInt16BE(answers === undefined ? 0x8183 : 0x8180, 2);
    head.writeUInt16BE(records.length, 6);
    head.writeUInt16BE(0, 8);
    head.writeUInt16BE(0, 10);
    return Buffer.concat([head, ...records]);
  }
}

function nameIn(query: Buffer): { readonly name: string; readonly end: number } {
  const labels: string[] = [];
  let at = HEADER_BYTES;
  for (let length = query[at] ?? 0; length > 0; length = query[at] ?? 0) {
    labels.push(query.toString('latin1', at + 1, at + 1 + length));
    at += 1 + length;
  }
  return { name: labels.join('.').toLowerCase(), end: at + 1 };
}

/** Its name is that of the question. */
function recordOf(address: string): Buffer {
  const bytes = isIPv6(address) ? sixteenBytes(address) : Buffer.from(address.split('.').map(Number));
  const head = Buffer.alloc(12);
  head.writeUInt16BE(0xc000 + HEADER_BYTES, 0);
  head.writeUInt16BE(bytes.length === 16 ? AAAA : A, 2);
  head.writeUInt16BE(1, 4);
  head.writeUInt16BE(bytes.length, 10);
  return Buffer.concat([head, bytes]);
}

function sixteenBytes(address: string): Buffer {
  const mapped = /^::ffff:(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(address);
  if (mapped !== null) return Buffer.from([...Array<number>(10).fill(0), 255, 255, ...mapped.slice(1).map(Number)]);
  const [head = '', tail = ''] = address.split('::');
  const before = head === '' ? [] : head.split(':');
  const after = tail === '' ? [] : tail.split(':');
  const groups = [...before, ...Array<string>(8 - before.length - after.length).fill('0'), ...after];
  return Buffer.from(groups.flatMap((group) => [Number.parseInt(group, 16) >> 8, Number.parseInt(group, 16) & 255]));
}
