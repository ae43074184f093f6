import type { Program } from './program.ts';

/** Publishes a template of the id that ensure_jupyter_pod uses; its pods are of `template`. */
export async function publishJupyter(program: Program, template: string): Promise<void> {
  const added = await program.api('POST', '/v3/pods/templates', { template_id: 'jupyterlab' });
  const tag = { pod_definition: { template }, commit_message: '' };
  const tagged = await program.api('POST', '/v3/pods/templates/jupyterlab/tags', tag);
  if (added.status !== 200 || tagged.status !== 200) throw new Error(JSON.stringify([added.body, tagged.body]));
}
