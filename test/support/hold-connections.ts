/**
 * node hold-connections.ts '{"port","count","addresses","atOnce","mode","host","caFile"}'
 * Opens connections from loopback addresses of its own, says `open N` and then, for each line on its stdin, how many of
 * them are there: `held N`; of sessions also how many have echoed a word. Ends with its stdin. A process of its own, since a
 * process has only so many files.
 *
 * `half-open`: begins a ClientHello and says no more. `session`: TLS, and one word that is echoed.
 */
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { connect as connectTls } from 'node:tls';

export interface HoldOptions {
  readonly port: number;
  readonly count: number;
  /** From so many addresses of 127.0.0.0/8. */
  readonly addresses: number;
  /** So many are being opened at a time. */
  readonly atOnce: number;
  readonly mode: 'half-open' | 'session';
  readonly host: string;
  readonly caFile: string | null;
}

const BEGUN_HELLO = Buffer.from('16030101', 'hex');
const options = JSON.parse(process.argv[2] ?? '{}') as HoldOptions;
const { port, count, addresses, atOnce, mode, host, caFile } = options;
const ca = caFile === null ? undefined : readFileSync(caFile);
const held = new Set<Socket>();
let next = 0;

/** 127.1.0.1, 127.1.0.2, ... 127.1.1.1, ... */
function addressOf(number: number): string {
  const at = number % addresses;
  return `127.1.${Math.floor(at / 250)}.${(at % 250) + 1}`;
}

async function openOne(number: number): Promise<void> {
  const raw = connect({ host: '127.0.0.1', port, localAddress: addressOf(number) });
  const socket = mode === 'session' ? connectTls({ socket: raw, servername: host, ...(ca && { ca }) }) : raw;
  socket.on('error', () => undefined).once('close', () => held.delete(socket));
  await new Promise((resolve) => {
    socket.once(mode === 'session' ? 'secureConnect' : 'connect', resolve).once('close', resolve);
  });
  if (socket.destroyed) return;
  held.add(socket);
  if (mode === 'half-open') socket.write(BEGUN_HELLO);
  else if (!(await echoes(socket))) held.delete(socket);
}

async function echoes(socket: Socket): Promise<boolean> {
  const answered = Promise.race([once(socket, 'data'), once(socket, 'close').then(() => null)]).catch(() => null);
  socket.write('word');
  const answer = (await answered) as [Buffer] | null;
  return answer?.[0].toString() === 'word';
}

async function openSome(): Promise<void> {
  while (next < count) await openOne(next++);
}

await Promise.all(Array.from({ length: atOnce }, openSome));
process.stdout.write(`open ${held.size}\n`);
for await (const line of createInterface({ input: process.stdin })) {
  if (line === 'echo') {
    const answers = [];
    for (const socket of held) answers.push(await echoes(socket));
    process.stdout.write(`echoed ${answers.filter((isGood) => isGood).length}\n`);
  } else process.stdout.write(`held ${held.size}\n`);
}
process.exit(0);
