import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import neo4j from 'neo4j-driver';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { databasePod } from '../../kill/database-pods.ts';
import { Chance } from '../../sim/scheduler.ts';
import { neo4jImage, neo4jProblem } from '../../support/kubernetes/kubelet/neo4j-image.ts';
import { createRecipePod, type RecipePod } from '../../support/kubernetes/recipe-pod.ts';

const problem = neo4jProblem();
const image = neo4jImage();
const TIMEOUT_MS = 600_000;

/** A real Neo4j with the command and the probes that Podgate gives the container. */
describe.skipIf(problem !== null)(`the start of a Neo4j in a cluster${problem === null ? '' : ` (${problem})`}`, () => {
  let pod: RecipePod;
  const workload = databasePod('neo4j');
  const { password = '' } = workload.credentials ?? {};
  beforeEach(() => {
    pod = createRecipePod(workload, image);
  });
  afterEach(() => pod.remove());

  async function query(text: string, withPassword = password): Promise<readonly unknown[]> {
    const driver = neo4j.driver(`bolt://${pod.address}:7687`, neo4j.auth.basic('neo4j', withPassword));
    try {
      return (await driver.executeQuery(text)).records.map((record) => record.toObject());
    } finally {
      await driver.close();
    }
  }
  const marker = () => existsSync(join(pod.data, 'podgate-first-start'));

  it(
    'that is killed is followed by one that admits its user; a changed password keeps it ready, and locks nobody out',
    async () => {
      const seed = Date.now() % 1_000_000;
      console.log(`seed ${seed}`);
      const killed = await pod.start();
      await sleep(new Chance(seed).next() * 10_000);
      killed.signal('SIGKILL');
      await killed.ended;
      // The moment in which it is there and not yet written is short.
      writeFileSync(join(pod.data, 'server_id'), '');
      const run = await pod.start();
      await run.becomesReady();
      expect(marker()).toBe(false);
      expect(await query("CREATE (n:Kept {is: 'kept'}) RETURN n.is AS is")).toEqual([{ is: 'kept' }]);

      await query(`ALTER CURRENT USER SET PASSWORD FROM '${password}' TO 'another-password'`);
      for (let times = 0; times < 5; times += 1) {
        expect(await run.probe('readiness')).toBe(0);
        expect(await query('RETURN 1 AS one', 'another-password')).toHaveLength(1);
      }
      run.signal('SIGTERM');
      await run.ended;
      const next = await pod.start();
      await next.becomesReady();
      expect(await query('MATCH (n:Kept) RETURN n.is AS is', 'another-password')).toEqual([{ is: 'kept' }]);
    },
    TIMEOUT_MS,
  );

  it(
    'continues with a volume of an earlier release',
    async () => {
      const before = await pod.start({ asBefore: true });
      await before.becomesReady();
      expect(marker()).toBe(false);
      await query("CREATE (:Kept {is: 'kept'})");
      before.signal('SIGKILL');
      await before.ended;
      const now = await pod.start();
      await now.becomesReady();
      expect(await query('MATCH (n:Kept) RETURN n.is AS is')).toEqual([{ is: 'kept' }]);
    },
    TIMEOUT_MS,
  );
});
