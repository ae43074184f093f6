import { promisify } from 'node:util';
import { gunzip, gzip } from 'node:zlib';
import { PodgateError } from '../../../core/errors.ts';
import type { KeptOutput, LogStore } from '../../../core/log-store.ts';
import {
  decodeOutput,
  encodeOutput,
  MARK_MAX_BYTES,
  MOST_ACTION_LINES,
  MOST_BYTES_PER_RUN,
  MOST_RUNS,
  oneLine,
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
    const [run, zipped] = arrayOf(answer);
    if (!Buffer.isBuffer(run) || !Buffer.isBuffer(zipped)) throw damaged(uid);
    try {
      const encoded = await decompress(zipped, { maxOutputLength: MOST_BYTES_PER_RUN + MARK_MAX_BYTES });
      return { run: Number(run.toString()), ...decodeOutput(encoded.toString('utf8')) };
    } catch {
      throw damaged(uid);
    }
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
    async saveOutput(uid, run, text, mark = '') {
      const args = [String(run), await compress(encodeOutput(text, mark)), String(MOST_RUNS)];
      await session.run('saveOutput', 'save-output', [keys.meta, keys.outputs(uid)], args);
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
