import { SERVE, processOptions, runProcessOrchestrator, scriptPod } from './process-harness.ts';
import { becomes, ensured } from '../../contract/orchestrator-harness.ts';

/**
 * A process that owns an orchestrator, to be killed by a test: starts one pod per uid given, says so when all are ready,
 * and lives on. Arguments: root, installation, instance, uids.
 */
const [, , root = '', installation = '', instance = '', ...uids] = process.argv;
const { orchestrator } = runProcessOrchestrator(processOptions(root, { installation, instance }));
for (const uid of uids) {
  const pod = scriptPod(
    `console.log('pid', process.pid); ${SERVE}`,
    { persistentVolume: true },
    { uid, podId: `pod${uid}` },
  );
  await ensured(orchestrator, pod);
  await becomes(orchestrator, pod, 'ready');
}
process.stdout.write('ready\n');
