import { connect } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

/**
 * `bridge.ts SOCKET`: connects standard input and output to the file server of this pod. When either end goes, so does the
 * other: the end of an exec connection closes standard input.
 */
const RETRY_MS = 50;
const TRIES = 200;

const path = `\0${process.argv[2] ?? ''}`;

async function connected() {
  for (let tries = 1; ; tries += 1) {
    const socket = connect(path);
    const outcome = await new Promise<'open' | Error>((resolve) => {
      socket.once('connect', () => resolve('open')).once('error', resolve);
    });
    if (outcome === 'open') return socket;
    // The pod has only just started.
    if (tries === TRIES) throw outcome;
    await delay(RETRY_MS);
  }
}

const socket = await connected();
process.stdin.pipe(socket);
socket.pipe(process.stdout, { end: false });
socket.on('error', () => undefined);
process.stdin.on('error', () => socket.destroy()).once('end', () => socket.destroy());
// All that came has been written by then: writes to a pipe are synchronous.
socket.once('close', () => process.exit(0));
