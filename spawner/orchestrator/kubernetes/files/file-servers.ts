import { isAborted, pause } from '../../../../core/abort.ts';
import { errorText, PodgateError } from '../../../../core/errors.ts';
import type { Logger } from '../../../../core/logger.ts';
import type { KubeApi } from '../api/kube-api.ts';
import { createFailure } from '../api/refusal.ts';
import type { ClusterObjects } from '../cluster-objects.ts';
import { execQuery, isRunning } from '../exec-in-pod.ts';
import { collectionPath, isDeleting, LABEL, podState, type PodState, siteSelector, versionOf } from '../objects.ts';
import type { KubernetesSettings } from '../options.ts';
import { podStatus } from '../pod-status.ts';
import { requireOurs } from './claims.ts';
import { FileSession, type Session } from './file-session.ts';
import { bridgeCommand, type FileServer, SERVER_CONTAINER, serverManifest, serverName } from './server-manifest.ts';

/** A node has to attach the volume, and the first time to pull the image. Clients of the API wait so long. */
const START_MS = 50_000;
const START_POLL_MS = 300;
const OPEN_RETRY_MS = 500;
const GONE_MS = 10_000;
/** Of one volume, and of all: each is a connection to the API server and a process in a pod. */
const SESSIONS_MAX = 12;
const SESSIONS_TOTAL_MAX = 64;
/** Of those that have ended by themselves. */
const SWEEP_MS = 60_000;
const PAGE = 500;

export interface FileServersOptions {
  readonly api: KubeApi;
  readonly objects: ClusterObjects;
  readonly settings: KubernetesSettings;
  readonly log: Logger;
}

/**
 * Small pods that mount the claim of a volume and do what Podgate's API is asked to do with its files. Made when somebody
 * asks, they end by themselves when nobody has for a while; any replica may use any of them.
 */
export class FileServers {
  readonly #options: FileServersOptions;
  /** Those that are being started, by name: who comes meanwhile waits with the others. */
  readonly #starting = new Map<string, Promise<void>>();
  readonly #sessions = new Map<string, number>();

  constructor(options: FileServersOptions) {
    this.#options = options;
  }

  /** Runs one operation. Throws what the server throws, and 'orchestrator.unavailable' when there is none. */
  async use<T>(server: FileServer, signal: AbortSignal, operation: (session: Session) => Promise<T>): Promise<T> {
    const session = await this.open(server, signal);
    try {
      return await operation(session);
    } finally {
      session.close();
    }
  }

  /** An operation that its user closes. */
  async open(server: FileServer, signal: AbortSignal): Promise<Session> {
    const name = serverName(this.#options.settings.site, server);
    const leave = this.#enter(name);
    try {
      const session = await this.#connect(server, name, signal);
      const close = (): void => {
        signal.removeEventListener('abort', close);
        leave();
        session.close();
      };
      signal.addEventListener('abort', close, { once: true });
      if (isAborted(signal)) close();
      return {
        say: (message) => session.say(message),
        sendBytes: (bytes) => session.sendBytes(bytes),
        next: () => session.next(),
        message: () => session.message(),
        close,
      };
    } catch (error) {
      leave();
      throw error;
    }
  }

  #enter(name: string): () => void {
    const now = this.#sessions.get(name) ?? 0;
    const all = [...this.#sessions.values()].reduce((sum, each) => sum + each, 0);
    if (now >= SESSIONS_MAX || all >= SESSIONS_TOTAL_MAX) {
      throw new PodgateError('api.overloaded', {
        publicMessages: ['Too many operations on files of volumes are under way. Try again in a moment.'],
      });
    }
    this.#sessions.set(name, now + 1);
    let isLeft = false;
    return () => {
      if (isLeft) return;
      isLeft = true;
      const rest = (this.#sessions.get(name) ?? 1) - 1;
      if (rest === 0) this.#sessions.delete(name);
      else this.#sessions.set(name, rest);
    };
  }

  async #connect(server: FileServer, name: string, signal: AbortSignal): Promise<FileSession> {
    const { api, settings } = this.#options;
    const path = `${collectionPath(settings.namespace, 'pods')}/${name}/exec`;
    const query = execQuery(bridgeCommand(server), SERVER_CONTAINER);
    const what = `${server.ref.kind} ${server.ref.tenant}/${server.ref.id}`;
    const deadlineMs = performance.now() + START_MS;
    let goneSinceMs: number | null = null;
    while (performance.now() < deadlineMs && !isAborted(signal)) {
      await this.#started(server, name, signal);
      const opened = await FileSession.open(api, { path, query, what }, signal);
      if (opened.kind === 'open') return opened.session;
      goneSinceMs ??= performance.now();
      // One that has only just ended is still said to run, until its node has reported.
      if (opened.kind === 'unfit' || performance.now() - goneSinceMs > GONE_MS) {
        await this.#delete(server, name, signal);
        goneSinceMs = null;
      }
      await pause(OPEN_RETRY_MS, signal);
    }
    throw unreachable(server, 'Its file server does not respond.');
  }

  #started(server: FileServer, name: string, signal: AbortSignal): Promise<void> {
    const present = this.#starting.get(name);
    if (present !== undefined) return present;
    const starting = this.#start(server, name, signal).finally(() => this.#starting.delete(name));
    this.#starting.set(name, starting);
    return starting;
  }

  /** Returns when it runs. */
  async #start(server: FileServer, name: string, signal: AbortSignal): Promise<void> {
    const { objects, settings } = this.#options;
    const deadline = AbortSignal.any([signal, AbortSignal.timeout(START_MS)]);
    let why = 'Its file server has not started yet.';
    while (!isAborted(deadline)) {
      const pod = await objects.readRaw('pods', name, signal);
      if (pod === null) {
        const created = await objects.create('pods', serverManifest(settings, server), signal);
        if (created.kind === 'refused') {
          throw unreachable(
            server,
            createFailure(created.refusal, 'pod').reason.replace(/This pod|this pod/g, 'its file server'),
          );
        }
        continue;
      }
      requireOurs(pod, name, { site: settings.site, uid: server.ref.uid });
      const state = podState(pod);
      if (isRunning(state)) return;
      if (isLeft(state)) await this.#delete(server, name, signal);
      const { message } = podStatus(state);
      if (message !== '') why = message;
      await pause(START_POLL_MS, deadline);
    }
    throw unreachable(server, why);
  }

  /** Exactly what is read here, or nothing. */
  async #delete(server: Pick<FileServer, 'ref'>, name: string, signal: AbortSignal): Promise<void> {
    const { objects, settings } = this.#options;
    const pod = await objects.readRaw('pods', name, signal);
    if (pod === null || isDeleting(pod)) return;
    requireOurs(pod, name, { site: settings.site, uid: server.ref.uid });
    await objects.delete('pods', versionOf(pod), signal);
  }

  /** Ends those of a volume or snapshot. */
  async remove(ref: FileServer['ref'], signal: AbortSignal): Promise<void> {
    for (const role of ['files', 'copy'] as const) await this.end({ role, ref }, signal);
  }

  async end(server: Pick<FileServer, 'role' | 'ref'>, signal: AbortSignal): Promise<void> {
    await this.#delete(server, serverName(this.#options.settings.site, server), signal);
  }

  /** Removes what is left of those that have ended, until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const { log } = this.#options;
    while (!isAborted(signal)) {
      await pause(SWEEP_MS, signal);
      if (isAborted(signal)) return;
      await this.#sweep(signal).catch((error: unknown) => {
        log.warn({ error: errorText(error) }, 'failed to remove file servers that have ended; will retry');
      });
    }
  }

  async #sweep(signal: AbortSignal): Promise<void> {
    const { objects, settings } = this.#options;
    const selector = `${siteSelector(settings.site)},${LABEL.files}`;
    for (const pod of await objects.all('pods', selector, PAGE, signal)) {
      if (isLeft(podState(pod))) await objects.delete('pods', versionOf(pod), signal);
    }
  }
}

/** It has ended, and nobody has removed it. */
function isLeft(pod: PodState): boolean {
  return !pod.isDeleting && (pod.phase === 'Succeeded' || pod.phase === 'Failed');
}

function unreachable({ ref }: FileServer, why: string): PodgateError {
  const reason = `The files of ${ref.kind} ${ref.id} cannot be reached now. ${why} Try again in a minute.`;
  return new PodgateError('orchestrator.unavailable', { publicMessages: [reason], detail: `${ref.uid}: ${why}` });
}
