/** A pod that answers each HTTP request with who it is; see the images of the kubelet's stand-in. */
export function pagePod(podId: string): Record<string, unknown> {
  return pod(podId, 'http');
}

/** A pod that says who it is and then sends every byte back. */
export function echoPod(podId: string): Record<string, unknown> {
  return pod(podId, 'tcp');
}

export const TEST_IMAGE = 'podgate.test/serves';

function pod(podId: string, protocol: 'http' | 'tcp'): Record<string, unknown> {
  return {
    pod_id: podId,
    pod_template: TEST_IMAGE,
    networking: { default: { protocol, port: 5000 } },
    // Its clients speak first; on a machine that is busy with faults an HTTP one may take its time.
    environment_variables: { SPEAK_AFTER_MS: 'never' },
    time_to_stop_default: -1,
  };
}
