import { cpSync, readFileSync, rmSync, statSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { createRedisStage, putPod, type RedisStage } from './redis-stage.ts';

/** Evenly spread over the last transaction. */
const CUTS = 10;
/** Bytes from the end of one command to where its successor's first argument begins: `\r\n*4\r\n$4\r\n`, and some more. */
const BETWEEN_COMMANDS = 13;

let stage: RedisStage;
beforeEach(async () => {
  stage = await createRedisStage();
});
afterEach(() => stage.end());

it('a commit during which Redis was killed is lost as a whole, also after the second start', async () => {
  const { server } = stage;
  const files = join(server.folder, 'appendonlydir');
  const log = join(files, 'appendonly.aof.1.incr.aof');
  const kept = join(server.folder, 'kept');
  const { store } = await stage.open();
  await store.commit({ puts: [putPod('before', 'absent')] });
  const begin = statSync(log).size;
  await store.commit({ puts: [putPod('torn', 'absent', 'x'.repeat(2_000))], enqueue: [{ key: 'torn' }] });
  const end = statSync(log).size;
  await server.kill();
  cpSync(files, kept, { recursive: true });
  const spread = Array.from({ length: CUTS }, (_, cut) => begin + Math.floor(((end - begin) * (cut + 1)) / (CUTS + 1)));
  const command = readFileSync(log).indexOf('\r\n*4\r\n', begin + Math.floor((end - begin) / 2));
  const between = Array.from({ length: BETWEEN_COMMANDS }, (_, bytes) => command + bytes);
  for (const cut of [...spread, ...between]) {
    rmSync(files, { recursive: true });
    cpSync(kept, files, { recursive: true });
    truncateSync(log, cut);
    await server.start();
    const next = await stage.open();
    expect(await next.store.get('pod', 'torn')).toBeNull();
    expect(await next.store.commit({ puts: [putPod('after', 'absent')] })).toEqual({ kind: 'committed', commit: 2 });
    await server.kill();
    await server.start();
    const last = await stage.open();
    const keys = async (query: object): Promise<readonly string[]> =>
      (await last.store.list('pod', { ...query, limit: 10 })).map(({ key }) => key);
    expect([cut, await keys({})]).toEqual([cut, ['after', 'before']]);
    expect(await keys({ tenant: 'default', index: 'user:alice' })).toEqual(['after', 'before']);
    expect((await last.queue.stats()).due).toBe(0);
    const aborting = new AbortController();
    const changes: unknown[] = [];
    for await (const change of last.store.changes(0, aborting.signal)) {
      changes.push(change.kind === 'put' ? [change.commit, change.record.key] : change.kind);
      if (changes.length === 2) aborting.abort();
    }
    expect(changes).toEqual([
      [1, 'before'],
      [2, 'after'],
    ]);
    await server.kill();
  }
});
