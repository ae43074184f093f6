import { afterAll } from 'vitest';
import { createProcessOrchestrator } from '../../spawner/orchestrator/process/process-orchestrator.ts';
import {
  processOptions,
  processSpec,
  runProcessOrchestrator,
  SERVE,
  temporaryRoot,
} from '../integration/spawner/process-harness.ts';
import type { Behaviour } from './orchestrator-harness.ts';
import { describeOrchestrator } from './orchestrator.suite.ts';

const { root, remove } = temporaryRoot();
afterAll(remove);

describeOrchestrator('processes of this machine', async () => {
  const running = runProcessOrchestrator(processOptions(root));
  const idle = createProcessOrchestrator(processOptions(root, { limits: { firstLookMs: 50 } }));
  const impossible = { template: 'no/such', writtenTemplate: 'no/such' };
  return { orchestrator: running.orchestrator, idle, specOf, impossible, close: running.close };
});

function specOf(behaviour: Behaviour) {
  switch (behaviour.kind) {
    case 'serves':
      return processSpec([process.execPath, '-e', endingAfter(behaviour.endsAfterMs ?? 0) + SERVE]);
    case 'exits':
      return processSpec(['sh', '-c', `echo '${behaviour.line}'; exit ${behaviour.code}`]);
    case 'counts-starts': {
      const count = `
        const file = process.env.DATA_DIR + '/starts';
        require('node:fs').appendFileSync(file, 'start\\n');
        process.stdout.write(require('node:fs').readFileSync(file, 'utf8'));
      `;
      return { ...processSpec([process.execPath, '-e', count + SERVE]), persistentVolume: true };
    }
  }
}

function endingAfter(ms: number): string {
  return ms === 0 ? '' : `process.on('SIGTERM', () => setTimeout(() => process.exit(0), ${ms}));`;
}
