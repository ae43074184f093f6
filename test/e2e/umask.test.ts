import { afterEach, it } from 'vitest';
import { Program } from '../support/program.ts';

let program: Program | null = null;
afterEach(async () => {
  await program?.dispose();
  program = null;
});

it('pods run, also where the shell of the start keeps new files to their owner', async () => {
  program = await Program.start({ workers: 1, umask: '077' });
  await program.createPod({ pod_id: 'hello', pod_template: 'podgate/hello' });
});
