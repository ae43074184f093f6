import { once } from 'node:events';
import type { TLSSocket } from 'node:tls';
import { MessageReader } from '../../../proxy/protocols/bolt/message-reader.ts';
import { chunked, packMessage, type PackValue } from '../../../proxy/protocols/bolt/packstream.ts';

const MAGIC = Buffer.from('6060b017', 'hex');
const MANIFEST = Buffer.from('000001ff', 'hex');
const NONE = Buffer.alloc(4);
const SUCCESS = 0x70;
const RECORD = 0x71;

/** Bolt by hand, in the version one wants: drivers always take the newest. */
export class BoltSession {
  readonly #socket: TLSSocket;
  #bytes: Buffer = Buffer.alloc(0);

  constructor(socket: TLSSocket) {
    this.#socket = socket;
    socket.on('data', (data: Buffer) => (this.#bytes = Buffer.concat([this.#bytes, data])));
  }

  async #take(length: number): Promise<Buffer> {
    while (this.#bytes.length < length) await once(this.#socket, 'data', { signal: AbortSignal.timeout(20_000) });
    const taken = this.#bytes.subarray(0, length);
    this.#bytes = this.#bytes.subarray(length);
    return taken;
  }

  /** Proposes one version; answers what the server takes. */
  async propose(version: string): Promise<string> {
    const [major = 0, minor = 0] = version.split('.').map(Number);
    this.#socket.write(Buffer.concat([MAGIC, Buffer.from([0, 0, minor, major]), NONE, NONE, NONE]));
    const answer = await this.#take(4);
    return `${answer[3]}.${answer[2]}`;
  }

  /** Manifest v1: the server offers ranges, the client chooses. Answers the version chosen: the newest. */
  async proposeManifest(): Promise<string> {
    this.#socket.write(Buffer.concat([MAGIC, MANIFEST, Buffer.from([0, 8, 8, 5]), NONE, NONE]));
    const answer = await this.#take(4);
    if (!answer.equals(MANIFEST)) throw new Error(`no manifest: ${answer.toString('hex')}`);
    const count = (await this.#take(1))[0] ?? 0;
    const offers: Buffer[] = [];
    for (let at = 0; at < count; at++) offers.push(Buffer.from(await this.#take(4)));
    // Capabilities: a number in base 128, as is the one that is sent back (none).
    while (((await this.#take(1))[0] ?? 0) >= 0x80);
    const newest = offers.sort((a, b) => (b[3] ?? 0) - (a[3] ?? 0) || (b[2] ?? 0) - (a[2] ?? 0))[0] ?? NONE;
    this.#socket.write(Buffer.concat([Buffer.from([0, 0, newest[2] ?? 0, newest[3] ?? 0]), Buffer.from([0])]));
    return `${newest[3]}.${newest[2]}`;
  }

  /** Logs on and runs a query; answers how many records came. */
  async run(version: string, auth: Readonly<Record<string, string>>, query: string): Promise<number> {
    const [major = 0, minor = 0] = version.split('.').map(Number);
    const logsOnLater = major > 5 || (major === 5 && minor >= 1);
    const agent = { user_agent: 'podgate-test/1.0' };
    if (logsOnLater) {
      const bolt_agent = { product: 'podgate-test/1.0' };
      await this.#ask(packMessage(0x01, minor >= 3 ? { ...agent, bolt_agent } : agent));
      await this.#ask(packMessage(0x6a, auth));
    } else await this.#ask(packMessage(0x01, { ...agent, ...auth }));
    const fields: PackValue[] = [query, {}, { db: 'neo4j' }];
    await this.#ask(
      Buffer.concat([Buffer.from([0xb3, 0x10]), ...fields.map((field) => packMessage(0, field).subarray(2))]),
    );
    return await this.#ask(packMessage(0x3f, { n: -1 }));
  }

  /** Until SUCCESS; answers how many records came before. */
  async #ask(message: Buffer): Promise<number> {
    this.#socket.write(chunked(message));
    const reader = new MessageReader({ maxBytes: 1_000_000, keptBytes: 100_000 });
    for (let records = 0; ;) {
      for (const event of reader.push(Buffer.from(await this.#take(1)))) {
        const tag = event.kind === 'message' ? event.beginning[1] : undefined;
        if (tag === SUCCESS) return records;
        if (tag !== RECORD)
          throw new Error(`refused: ${event.kind === 'message' ? event.beginning.toString() : event.kind}`);
        records++;
      }
    }
  }
}
