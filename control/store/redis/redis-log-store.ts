import { promisify } from 'node:util';
import { gunzip, gzip } from 'node:zlib';
import { PodgateError } from '../../../core/errors.ts';
import type { KeptOutput, LogStore } from '../../../core/log-store.ts';
import {
  decodeOutput,
  decodeParts,
  encodeOutput,
  encodePart,
  MARK_MAX_BYTES,
  MOST_ACTION_LINES,
  MOST_BYTES_PER_RUN,
  MOST_RUNS,
  MOST_TAIL_BYTES,
  oneLine,
  withParts,
} from '../log-limits.ts';
import { arrayOf, textOf } from './redis-reply.ts';
import type { RedisSession } from './redis-session.ts';

const compress = promisify(gzip);
const decompress = promisify(gunzip);

/** Outputs are compressed: they are text, and Redis keeps them in memory. */
export function createRedisLogStore(session: RedisSession): LogStore {
  const { connection, keys } = session;

  async function newest(uid: string, upToRun: number): Promise<(KeptOutput & { readonly run: number }) | null> {
    const asBytes = { asBuffer: true };
    const args = [upToRun === Infinity ? '' : String(upToRun)];
    const { answer } = await session.run('output', 'newest-output', [keys.meta, keys.outputs(uid)], args, asBytes);
    if (answer === null) return null;
    const [run, zipped, tail] = arrayOf(answer);
    if (!Buffer.isBuffer(run) || !Buffer.isBuffer(zipped) || !Buffer.isBuffer(tail)) throw damaged(uid);
    try {
      const encoded = await decompress(zipped, { maxOutputLength: MOST_BYTES_PER_RUN + MARK_MAX_BYTES });
      const output = decodeOutput(encoded.toString('utf8'));
      if (tail.length === 0) return { run: Number(run.toString()), ...output };
      const parts = decodeParts(await decompress(tail, { maxOutputLength: MOST_TAIL_BYTES }));
      return { run: Number(run.toString()), ...withParts(output, parts) };
    } catch {
      throw damaged(uid);
    }
  }

  async function save(uid: string, run: number, text: string, mark: string): Promise<void> {
    const args = [String(run), await compress(encodeOutput(text, mark)), String(MOST_RUNS)];
    await session.run('saveOutput', 'save-output', [keys.meta, keys.outputs(uid)], args);
  }

  return {
    async appendAction(uid, line) {
      const args = [oneLine(line), String(MOST_ACTION_LINES)];
      await session.run('appendAction', 'append-action', [keys.meta, keys.actions(uid)], args);
    },
    async actions(uid, last = MOST_ACTION_LINES) {
      if (last <= 0) return [];
      const reply = await connection.send('actions', ['LRANGE', keys.actions(uid), String(-Math.floor(last)), '-1']);
      return arrayOf(reply).map(textOf);
    },
    saveOutput: (uid, run, text, mark = '') => save(uid, run, text, mark),
    async appendOutput(uid, run, text, mark) {
      const part = encodePart(text, mark);
      const args = [String(run), await compress(part), String(part.length), String(MOST_TAIL_BYTES)];
      const { answer } = await session.run('appendOutput', 'append-output', [keys.meta, keys.outputs(uid)], args);
      if (answer === 1) return;
      const kept = await newest(uid, run);
      await save(uid, run, (kept?.run === run ? kept.text : '') + text, mark);
    },
    output: async (uid, upToRun = Infinity) => (await newest(uid, upToRun))?.text ?? '',
    async outputOfRun(uid, run) {
      const kept = await newest(uid, run);
      return kept?.run === run ? kept : null;
    },
    async remove(uid) {
      await session.run('removeLogs', 'remove-logs', [keys.meta, keys.actions(uid), keys.outputs(uid)], []);
    },
  };
}

function damaged(uid: string): PodgateError {
  return new PodgateError('store.unavailable', { detail: `the kept output of ${uid} is damaged` });
}
