import type { IncomingMessage } from 'node:http';
import { Agent, request, type RequestOptions } from 'node:https';
import { parse } from 'yaml';

/** What the API server refused. `reason` is its word for it: NotFound, Conflict, AlreadyExists, Expired... */
export class KubeError extends Error {
  readonly status: number;
  readonly reason: string;
  constructor(status: number, reason: string, message: string) {
    super(`${status} ${reason}: ${message}`);
    this.name = 'KubeError';
    this.status = status;
    this.reason = reason;
  }
}

export interface CallOptions {
  readonly body?: unknown;
  readonly contentType?: string;
  readonly signal?: AbortSignal;
  readonly timeoutMs?: number;
}

/**
 * The Kubernetes API by plain JSON, for the test environment alone. The client library takes ten times the CPU a call,
 * which a stand-in for the kubelet of 1,000 pods would feel; and what tests stand on must not share its faults.
 */
export interface KubeClient {
  readonly server: string;
  call<T>(method: string, path: string, options?: CallOptions): Promise<T>;
  get<T>(path: string, options?: CallOptions): Promise<T>;
  /** An answer that does not end: its lines, until the signal aborts or the server ends it. */
  lines(path: string, signal: AbortSignal): AsyncIterable<string>;
  close(): void;
}

export const STRATEGIC_MERGE = 'application/strategic-merge-patch+json';
export const MERGE = 'application/merge-patch+json';
const CALL_TIMEOUT_MS = 15_000;

/** A watch that says nothing for so long is dead: it is asked to end, and bookmarks come each minute before that. */
const SILENCE_MS = 90_000;

interface Kubeconfig {
  readonly clusters: readonly {
    readonly cluster: { readonly server: string; readonly 'certificate-authority-data': string };
  }[];
  readonly users: readonly {
    readonly user: {
      readonly token?: string;
      readonly 'client-certificate-data'?: string;
      readonly 'client-key-data'?: string;
    };
  }[];
}

/** `kubeconfig` as startControlPlane makes it: one cluster, one user, everything inside. */
export function createKubeClient(kubeconfig: string): KubeClient {
  const { clusters, users } = parse(kubeconfig) as Kubeconfig;
  const cluster = clusters[0]?.cluster;
  const user = users[0]?.user;
  if (cluster === undefined || user === undefined) throw new Error('the kubeconfig has no cluster or no user');
  const decoded = (text: string | undefined) => (text === undefined ? undefined : Buffer.from(text, 'base64'));
  const agent = new Agent({
    keepAlive: true,
    maxSockets: 64,
    ca: decoded(cluster['certificate-authority-data']),
    cert: decoded(user['client-certificate-data']),
    key: decoded(user['client-key-data']),
  });
  const headers = user.token === undefined ? {} : { authorization: `Bearer ${user.token}` };

  const open = (method: string, path: string, text: string | null, options: CallOptions & { timeoutMs: number }) =>
    new Promise<IncomingMessage>((resolve, reject) => {
      const settings: RequestOptions = {
        agent,
        method,
        headers: {
          ...headers,
          accept: 'application/json',
          ...(text === null
            ? {}
            : { 'content-type': options.contentType ?? 'application/json', 'content-length': Buffer.byteLength(text) }),
        },
        timeout: options.timeoutMs,
        ...(options.signal === undefined ? {} : { signal: options.signal }),
      };
      const outgoing = request(new URL(path, cluster.server), settings, resolve);
      outgoing.on('timeout', () =>
        outgoing.destroy(new Error(`no answer to ${method} ${path} within ${options.timeoutMs} ms`)),
      );
      outgoing.on('error', reject);
      outgoing.end(text ?? undefined);
    });

  async function call<T>(method: string, path: string, options: CallOptions = {}): Promise<T> {
    const text = options.body === undefined ? null : JSON.stringify(options.body);
    const answer = await open(method, path, text, { ...options, timeoutMs: options.timeoutMs ?? CALL_TIMEOUT_MS });
    const body = await textOf(answer);
    if ((answer.statusCode ?? 0) < 300) return (isJson(answer) ? JSON.parse(body) : body) as T;
    throw errorOf(answer.statusCode ?? 0, body);
  }

  async function* lines(path: string, signal: AbortSignal): AsyncGenerator<string> {
    const answer = await open('GET', path, null, { signal, timeoutMs: SILENCE_MS });
    if (answer.statusCode !== 200) throw errorOf(answer.statusCode ?? 0, await textOf(answer));
    let rest = '';
    for await (const chunk of answer.setEncoding('utf8') as AsyncIterable<string>) {
      const parts = (rest + chunk).split('\n');
      rest = parts.pop() ?? '';
      yield* parts.filter((part) => part !== '');
    }
  }

  return {
    server: cluster.server,
    call,
    get: (path, options) => call('GET', path, options),
    lines,
    close: () => agent.destroy(),
  };
}

const isJson = (answer: IncomingMessage): boolean =>
  answer.headers['content-type']?.startsWith('application/json') ?? false;

async function textOf(answer: IncomingMessage): Promise<string> {
  let text = '';
  for await (const chunk of answer.setEncoding('utf8') as AsyncIterable<string>) text += chunk;
  return text;
}

function errorOf(status: number, body: string): KubeError {
  try {
    const { reason, message } = JSON.parse(body) as { reason?: string; message?: string };
    return new KubeError(status, reason ?? '', message ?? body);
  } catch {
    return new KubeError(status, '', body.slice(0, 500));
  }
}

export const isKubeError = (error: unknown, ...reasons: readonly string[]): error is KubeError =>
  error instanceof KubeError && reasons.includes(error.reason);
