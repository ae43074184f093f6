/**
 * A Kubernetes for tests: a real kube-apiserver with etcd (RBAC, Node authorizer, Pod Security, ServiceAccount tokens,
 * admission as in a cluster), and a stand-in for what a bare API server lacks: scheduler, kubelet, volume provisioner,
 * kube-proxy, and the controllers that furnish namespaces and free claims. No garbage collection, no endpoints (the API
 * server takes no loopback addresses there), no Deployments, and namespaces that are deleted stay Terminating: give each
 * test a namespace of its own. The aggregated roles (view, edit, admin) are empty.
 *
 *   describe.skipIf(controlPlaneProblem() !== null)('...', () => {
 *     let cluster: TestCluster;                      // one for all tests of a file: ready in about 3 s
 *     beforeAll(async () => { cluster = await startTestCluster(); });
 *     afterAll(() => cluster.stop());
 *
 *     const { controlPlane, kubelet } = cluster;
 *     await controlPlane.createNamespace('pods-1', { 'pod-security.kubernetes.io/enforce': 'restricted' });
 *     await controlPlane.apply(object);              // roles, bindings: what deploy/ holds
 *     await controlPlane.serviceAccountKubeconfig('podgate', 'podgate');
 *     await controlPlane.killApiServer();            // SIGKILL; signalApiServer('SIGSTOP'); startApiServer()
 *     kubelet.evict | outOfMemory | crash (namespace, pod); kubelet.refusePods('0/1 nodes are available: ...')
 *
 * Images (Image in kubelet/image.ts; add yours by `images`), run on the pod's own loopback address and its containerPorts:
 * - podgate.test/serves: HTTP answers and the first line of a TCP session are JSON that names the pod (`uid` is its label
 *   `uid` or `.../uid`, `objectUid` the object's own); TCP bytes are echoed. START_AFTER_MS, SPEAK_AFTER_MS, STOP_AFTER_MS (or `never`).
 * - podgate.test/exits: prints EXIT_LINE, ends with EXIT_CODE after EXIT_AFTER_MS.
 * - podgate.test/counts-starts: adds a line to the file `starts` of its first volume, prints it, and serves.
 * - podgate.test/command: the pod's command and args as a process of this machine.
 * - every other name: ErrImagePull, then ImagePullBackOff.
 * What it cannot show, and a real node can (test/support/real-node, test/real-node):
 * - containers: programs are processes of this machine, so there are no image layers, no limits of CPU, memory and ephemeral
 *   storage, no OOM kill by the kernel (`outOfMemory` says so), no read-only root, seccomp or capabilities, no /dev/shm; nor
 *   is a program process 1, which ignores SIGTERM until it handles it and is then killed after the whole grace period.
 * - the network: pods have loopback addresses, policies are not enforced, there is no cluster DNS with its cache, and what
 *   kube-proxy does (`externalTrafficPolicy`, its delay after a change) is a forwarder in this process.
 * - the node's life: no node controller (Ready=False without a reason, taints, deletion after five minutes), no leases, no
 *   reboot, no eviction API with PodDisruptionBudgets, no drain. Tests that need one of these write what it would write.
 * - logs are not rotated at 10 MiB.
 * - volumes are bound at once, to directories: no storage class that waits for a pod, none that belongs to one node, no fsGroup.
 * - times: back-off of a crash loop is 250 ms to 5 s in place of 10 s to 5 min.
 * An address is given again at once after its pod's processes have ended. Back-off of a crash loop: 250 ms to 5 s
 * (`timings`); probes run as the pod says (`timings.probePeriodMs` replaces their period).
 */
export { controlPlaneProblem, type ControlPlane, programPath, startControlPlane } from './control-plane.ts';
export { type Kubelet, type KubeletOptions, startKubelet } from './kubelet/kubelet.ts';
export { createKubeClient, isKubeError, KubeError, type KubeClient } from './kube-client.ts';
export { startTestCluster, type TestCluster } from './test-cluster.ts';
export { type KubeletProcess, startKubeletProcess } from './kubelet-process.ts';
