import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathsBelow } from '../../../spawner/orchestrator/process/paths.ts';
import { until } from '../../support/until.ts';
import { SERVE, processOptions, runProcessOrchestrator, scriptPod } from './process-harness.ts';
import { becomes, ensured } from '../../contract/orchestrator-harness.ts';

/**
 * A process that owns an orchestrator, to be killed by a test: starts one pod per uid given, says so when all are ready,
 * and lives on. Arguments: root, installation, instance, uids.
 */
const [, , root = '', installation = '', instance = '', ...uids] = process.argv;
const { orchestrator } = runProcessOrchestrator(processOptions(root, { installation, instance }));
for (const uid of uids) {
  const pod = scriptPod(`console.log('it runs'); ${SERVE}`, { persistentVolume: true }, { uid, podId: `pod${uid}` });
  await ensured(orchestrator, pod);
  await becomes(orchestrator, pod, 'ready');
  // What is said comes before what is written down, by the time of one write: the next owner knows what is on disk.
  const file = join(pathsBelow(processOptions(root, { installation, instance }).root).workload(uid), 'workload.json');
  await until('it is written down', () => readFileSync(file, 'utf8').includes('"isReady":true'));
}
process.stdout.write('ready\n');
