import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { signToken } from '../../../control/auth/sign-token.ts';
import { makeTokenKey } from '../../../control/auth/token-key.ts';
import { podHost } from '../../../core/ids.ts';
import { preparePodNamespace } from '../kubernetes-orchestrator.ts';
import { type ControlPlane, startTestCluster, type TestCluster } from '../kubernetes/index.ts';
import { freePorts } from '../program.ts';
import { RedisServer } from '../redis-server.ts';
import { createTestAuthority, type TestAuthority } from '../test-authority.ts';
import { type ApiClient, createApiClient } from './api-client.ts';
import { HaProxy } from './haproxy.ts';
import { Replica } from './replica.ts';

const BASE_HOST = 'faults.test';
const TENANT = 'faults';
const ISSUER = `https://${BASE_HOST}/v3/tokens`;
const POD_NAMESPACE = 'podgate-pods';
/** A clock that jumps ahead must not end the tokens of whoever looks on. */
const TOKEN_SECONDS = 7 * 86_400;

export interface InstallationOptions {
  readonly replicas: number;
  /** Of each replica. */
  readonly workers?: number;
  /** Images that users may run. */
  readonly images: readonly string[];
  /** The data of Redis lies here (a small file system, for instance). */
  readonly redisFolder?: string;
  /** `use`: replicas are also reached without HAProxy. Default: `require`. */
  readonly proxyPolicy?: 'require' | 'use';
  /** The replicas' wall clocks can be moved. */
  readonly ownClocks?: boolean;
}

/**
 * Podgate as it runs in production: whole replicas on one real Redis and one real API server, as the ServiceAccount of
 * deploy/base, behind a real HAProxy that speaks PROXY v2; with the stand-in for the kubelet in this process.
 */
export interface Installation {
  readonly redis: RedisServer;
  readonly cluster: ControlPlane;
  readonly kubelet: TestCluster['kubelet'];
  readonly proxy: HaProxy;
  readonly replicas: readonly Replica[];
  /** As the administrator, through HAProxy. */
  readonly api: ApiClient;
  readonly gateway: { readonly port: number; readonly ca: string };
  /** Of the pods alone. */
  readonly namespace: string;
  readonly token: string;
  hostOf(podId: string): string;
  dispose(): Promise<void>;
}

export async function startInstallation(options: InstallationOptions): Promise<Installation> {
  const folder = mkdtempSync(join(tmpdir(), 'podgate-installation-'));
  const ends: (() => unknown)[] = [() => rmSync(folder, { recursive: true, force: true })];
  const dispose = async (): Promise<void> => {
    for (const end of ends.splice(0).reverse()) await end();
  };
  try {
    const redis = await RedisServer.start(options.redisFolder === undefined ? {} : { folder: options.redisFolder });
    ends.push(() => redis.dispose());
    const authority = await createTestAuthority([BASE_HOST, `*.pods.${BASE_HOST}`]);
    const cluster = await startTestCluster();
    ends.push(() => cluster.stop());
    const { controlPlane, kubelet } = cluster;
    const kubeconfig = join(folder, 'kubeconfig');
    writeFileSync(kubeconfig, await preparePodNamespace(cluster, POD_NAMESPACE), { mode: 0o600 });
    const { token, configuration } = await writeConfiguration(folder, authority, options);

    const [balancerPort = 0, ...ports] = await freePorts(1 + 3 * options.replicas);
    const replicas = await Promise.all(
      Array.from({ length: options.replicas }, (_, index) => {
        const name = `replica${index}`;
        mkdirSync(join(folder, name));
        return Replica.prepare({
          name,
          folder: join(folder, name),
          hasOwnClock: options.ownClocks ?? false,
          workers: options.workers ?? 1,
          ports: ports.slice(3 * index, 3 * index + 3),
          env: {
            PODGATE_CONFIG: configuration,
            PODGATE_REDIS_URL: redis.url,
            PODGATE_SITE: 'faults',
            PODGATE_SECRET_KEY_FILE: join(folder, 'secret.key'),
            PODGATE_ORCHESTRATOR: 'kubernetes',
            PODGATE_NAMESPACE: POD_NAMESPACE,
            PODGATE_PUBLIC_HTTPS_PORT: String(balancerPort),
            KUBECONFIG: kubeconfig,
          },
        });
      }),
    );
    ends.push(() => Promise.all(replicas.map(({ program }) => program.dispose())));
    // One after the other: the first makes the keyring that all share.
    for (const { program } of replicas) await program.start();
    const proxy = await HaProxy.start(
      balancerPort,
      replicas.map(({ name, program: { httpsPort, controlPort } }) => ({ name, httpsPort, controlPort })),
    );
    ends.push(() => proxy.dispose());
    const gateway = { port: balancerPort, ca: authority.ca };
    return {
      redis,
      cluster: controlPlane,
      kubelet,
      proxy,
      replicas,
      api: createApiClient({ ...gateway, baseHost: BASE_HOST, token }),
      gateway,
      namespace: POD_NAMESPACE,
      token,
      hostOf: (podId) => podHost(podId, 'default', BASE_HOST),
      dispose,
    };
  } catch (error) {
    await dispose();
    throw error;
  }
}

/** The YAML file of all replicas, with what it names; and an administrator's token. */
async function writeConfiguration(
  folder: string,
  { certificate, key }: TestAuthority,
  { images, proxyPolicy = 'require' }: InstallationOptions,
): Promise<{ token: string; configuration: string }> {
  const file = (name: string) => join(folder, name);
  const tokenKey = await makeTokenKey(file('token.key'));
  writeFileSync(file('certificate.pem'), certificate);
  writeFileSync(file('certificate.key'), key, { mode: 0o600 });
  const configuration = {
    certificates: [{ certificateFile: file('certificate.pem'), keyFile: file('certificate.key') }],
    tenants: [
      { id: TENANT, baseHost: BASE_HOST, issuer: ISSUER, key: tokenKey.publicKeyPem, administrators: ['admin'] },
    ],
    images,
    // Small enough for a thousand of them on the one node.
    resources: {
      cpu: { minimum: 1, maximum: 6_000 },
      memory: { minimum: 1, maximum: 12_288 },
      default: { cpuRequest: 1, cpuLimit: 100, memRequest: 8, memLimit: 64, gpus: 0 },
    },
    // One user has them all.
    quotas: { podsPerUser: 2_000 },
    proxyProtocol: { from: ['127.0.0.1'], policy: proxyPolicy },
  };
  writeFileSync(file('podgate.yaml'), stringify(configuration));
  const token = await signToken({
    username: 'admin',
    tenant: TENANT,
    issuer: ISSUER,
    lifetimeSeconds: TOKEN_SECONDS,
    key: tokenKey,
  });
  return { token, configuration: file('podgate.yaml') };
}

/** A back-up of a Redis: its folder is copied while it does not run. */
export function copyFolder(from: string, to: string): void {
  rmSync(to, { recursive: true, force: true });
  cpSync(from, to, { recursive: true });
}
