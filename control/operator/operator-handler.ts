import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import type {
  CertificateAdmin,
  CertificatePems,
  CertificateReport,
  ImportAnswer,
} from '../../core/certificate-admin.ts';
import { ERRORS, errorText, PodgateError } from '../../core/errors.ts';
import type { Logger } from '../../core/logger.ts';
import { type ParkedKey, parseQueueKey, type Queue, queueKey, type QueueStats } from '../../core/queue.ts';
import type { KeptVolume, KeptVolumeRemoval } from '../resources/pods/kept-volumes.ts';
import type { ConfirmOptions, ConfirmReport } from './confirm-removals.ts';
import type { RecoverOptions, RecoverReport } from './recover-store.ts';

/** Calls of the operator's commands, as JSON: POST /<name> with the argument answers 200 and the result. */
export interface OperatorCalls {
  recover(options: RecoverOptions): Promise<RecoverReport>;
  queue(argument: Record<string, never>): Promise<QueueReport>;
  /** Makes parked keys due at once: one, or (null) all. Returns how many there were. */
  retry(argument: { readonly key: string | null }): Promise<{ readonly count: number }>;
  /** Writes a copy of the embedded store to a file that does not exist yet. */
  backup(argument: { readonly path: string }): Promise<{ readonly bytes: number }>;
  confirm(options: ConfirmOptions): Promise<ConfirmReport>;
  keptVolumes(argument: Record<string, never>): Promise<{ readonly volumes: readonly KeptVolume[] }>;
  removeKeptVolume(argument: { readonly key: string }): Promise<KeptVolumeRemoval>;
  certificates(argument: Record<string, never>): Promise<CertificateReport>;
  renewCertificate(argument: {
    readonly key: string;
  }): Promise<{ readonly answer: Awaited<ReturnType<CertificateAdmin['renew']>> }>;
  importCertificate(argument: CertificatePems): Promise<ImportAnswer>;
  /** For a login link of the console; null: this installation has none. */
  loginCode(argument: Record<string, never>): Promise<{ readonly code: string | null }>;
  /** Returns a private key: anyone who can open the socket can read the keyring, too. */
  exportCertificate(argument: { readonly key: string }): Promise<{ readonly pems: CertificatePems | null }>;
  rollOverAccountKey(
    argument: Record<string, never>,
  ): Promise<{ readonly answer: Awaited<ReturnType<CertificateAdmin['rollOverAccountKey']>> }>;
}

export interface QueueReport extends QueueStats {
  /** Longest parked first. */
  readonly keys: readonly ParkedKey[];
}

/** What the socket answers when a call fails. */
export interface OperatorFailure {
  readonly messages: readonly string[];
}

export const OPERATOR_SOCKET = 'operator.sock';
const PARKED_SHOWN = 1_000;
const BODY_MAX_BYTES = 64 * 1024;

export function operatorCalls(parts: {
  readonly queue: Queue;
  readonly recover: (options: RecoverOptions) => Promise<RecoverReport>;
  readonly backup: OperatorCalls['backup'];
  readonly confirm: (options: ConfirmOptions) => ConfirmReport;
  readonly keptVolumes: () => Promise<readonly KeptVolume[]>;
  readonly removeKeptVolume: (key: string) => Promise<KeptVolumeRemoval>;
  readonly certificates: CertificateAdmin;
  readonly loginCode: () => string | null;
}): OperatorCalls {
  const { queue, recover, backup, certificates } = parts;
  return {
    recover,
    backup,
    queue: async () => ({
      ...(await queue.stats()),
      keys: (await queue.parked(PARKED_SHOWN)).map((parked) => ({ ...parked, key: shownKey(parked.key) })),
    }),
    retry: async ({ key }) => {
      if (key === null) return { count: await queue.unpark(null) };
      return { count: (await queue.unpark(queueKey('pod', key))) + (await queue.unpark(key)) };
    },
    confirm: async (options) => parts.confirm(options),
    keptVolumes: async () => ({ volumes: await parts.keptVolumes() }),
    removeKeptVolume: ({ key }) => parts.removeKeptVolume(key),
    certificates: async () => certificates.report(),
    renewCertificate: async ({ key }) => ({ answer: await certificates.renew(key) }),
    loginCode: async () => ({ code: parts.loginCode() }),
    importCertificate: (pems) => certificates.import(pems),
    exportCertificate: async ({ key }) => ({ pems: await certificates.export(key) }),
    rollOverAccountKey: async () => ({ answer: await certificates.rollOverAccountKey() }),
  };
}

/** Pods go without their kind. */
function shownKey(text: string): string {
  const { kind, key } = parseQueueKey(text);
  return kind === 'pod' ? key : text;
}

/**
 * Serves the operator's socket. Only the user that runs Podgate can open it, who can read the data directory anyway and is
 * trusted. Details of errors go to the log, as elsewhere.
 */
export function createOperatorHandler(calls: OperatorCalls, log: Logger): RequestListener {
  return (request, response) => {
    void answer(calls, request, response).catch((error: unknown) => {
      log.error({ url: request.url, error: errorText(error) }, 'an operator command failed');
      const messages = error instanceof PodgateError ? error.publicMessages : [ERRORS['api.internal'].message];
      reply(response, 500, { messages } satisfies OperatorFailure);
    });
  };
}

async function answer(calls: OperatorCalls, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const name = request.url?.slice(1) ?? '';
  if (request.method !== 'POST' || !isCall(calls, name)) {
    reply(response, 404, { messages: ['This Podgate does not know that command.'] } satisfies OperatorFailure);
    return;
  }
  // Typed by its only client, the command line of the same release.
  const argument = JSON.parse(await readBody(request)) as never;
  reply(response, 200, await calls[name](argument));
}

function isCall(calls: OperatorCalls, name: string): name is keyof OperatorCalls {
  return Object.hasOwn(calls, name);
}

async function readBody(request: IncomingMessage): Promise<string> {
  let text = '';
  request.setEncoding('utf8');
  for await (const chunk of request) {
    text += String(chunk);
    if (text.length > BODY_MAX_BYTES) throw new PodgateError('api.too-large');
  }
  return text;
}

function reply(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}
