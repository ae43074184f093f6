import { expect, it } from 'vitest';
import { podText } from '../../../cli/pods/pod-text.ts';
import type { Pod } from '../../../cli/pods/pod.ts';

const POD: Pod = {
  ...{ pod_id: 'mypg', pod_template: 'template/postgres', template: '', description: '' },
  ...{ status: 'RUNNING', status_requested: 'ON', status_container: {}, networking: {}, action_logs: [] },
  resources: { mem_limit: 512, cpu_limit: 1000 },
  ...{ creation_ts: '2026-11-30T03:00:00Z', start_instance_ts: null, time_to_stop_ts: null },
};

it('shows what a pod uses, or why nobody knows', () => {
  const used = podText(POD, { memory_bytes: 64 * 1024 * 1024, cpu_millis: 12 });
  expect(used).toMatch(/^memory +64 of 512 MiB\ncpu +0.01 of 1 cores$/m);
  const unknown = { memory_bytes: null, cpu_millis: null };
  expect(podText(POD, { ...unknown, note: 'This cluster has no metrics API.' })).toMatch(
    /^memory +This cluster has no metrics API\.$/m,
  );
  expect(podText(POD, unknown)).not.toMatch(/^memory/m);
});
