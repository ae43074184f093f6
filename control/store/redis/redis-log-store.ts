import { promisify } from 'node:util';
import { gunzip, gzip } from 'node:zlib';
import { PodgateError } from '../../../core/errors.ts';
import type { LogStore } from '../../../core/log-store.ts';
import { MOST_ACTION_LINES, MOST_BYTES_PER_RUN, MOST_RUNS, newestBytes, oneLine } from '../log-limits.ts';
import { arrayOf, textOf } from './redis-reply.ts';
import type { RedisSession } from './redis-session.ts';

const compress = promisify(gzip);
const decompress = promisify(gunzip);

/** Outputs are compressed: they are text, and Redis keeps them in memory. */
export function createRedisLogStore(session: RedisSession): LogStore {
  const { connection, keys } = session;
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
    async saveOutput(uid, run, text) {
      const args = [String(run), await compress(newestBytes(text)), String(MOST_RUNS)];
      await session.run('saveOutput', 'save-output', [keys.meta, keys.outputs(uid)], args);
    },
    async output(uid) {
      const asBytes = { asBuffer: true };
      const { answer } = await session.run('output', 'newest-output', [keys.meta, keys.outputs(uid)], [], asBytes);
      if (answer === null) return '';
      if (!Buffer.isBuffer(answer)) throw damaged(uid);
      try {
        return (await decompress(answer, { maxOutputLength: MOST_BYTES_PER_RUN })).toString('utf8');
      } catch {
        throw damaged(uid);
      }
    },
    async remove(uid) {
      await session.run('removeLogs', 'remove-logs', [keys.meta, keys.actions(uid), keys.outputs(uid)], []);
    },
  };
}

function damaged(uid: string): PodgateError {
  return new PodgateError('store.unavailable', { detail: `the kept output of ${uid} is damaged` });
}
