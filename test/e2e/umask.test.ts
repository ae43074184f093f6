import { afterEach, it } from 'vitest';
import { Program } from '../support/program.ts';

let program: Program | null = null;
afterEach(async () => {
  await program?.dispose();
  program = null;
});

it('pods run even if the umask of the starting shell makes new files private', async () => {
  program = await Program.start({ workers: 1, umask: '077' });
  await program.createPod({ pod_id: 'hello', pod_template: 'podgate/hello' });
});
