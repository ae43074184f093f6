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
export function createRedisLogStore({ connection, keys, scripts }: RedisSession): LogStore {
  return {
    async appendAction(uid, line) {
      const args = [oneLine(line), String(MOST_ACTION_LINES)];
      await connection.run('appendAction', scripts['append-action'], [keys.actions(uid)], args);
    },
    async actions(uid, last = MOST_ACTION_LINES) {
      if (last <= 0) return [];
      const reply = await connection.send('actions', ['LRANGE', keys.actions(uid), String(-Math.floor(last)), '-1']);
      return arrayOf(reply).map(textOf);
    },
    async saveOutput(uid, run, text) {
      const args = [String(run), await compress(newestBytes(text)), String(MOST_RUNS)];
      await connection.run('saveOutput', scripts['save-output'], [keys.outputs(uid)], args);
    },
    async output(uid) {
      const reply = await connection.run('output', scripts['newest-output'], [keys.outputs(uid)], [], {
        asBuffer: true,
      });
      if (reply === null) return '';
      if (!Buffer.isBuffer(reply)) throw damaged(uid);
      try {
        return (await decompress(reply, { maxOutputLength: MOST_BYTES_PER_RUN })).toString('utf8');
      } catch {
        throw damaged(uid);
      }
    },
    async remove(uid) {
      await connection.send('removeLogs', ['UNLINK', keys.actions(uid), keys.outputs(uid)]);
    },
  };
}

function damaged(uid: string): PodgateError {
  return new PodgateError('store.unavailable', { detail: `the kept output of ${uid} is damaged` });
}
