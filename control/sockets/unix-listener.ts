import { chmodSync, mkdirSync, rmSync, statSync } from 'node:fs';
import { Server } from 'node:net';
import { dirname } from 'node:path';
import { errorText } from '../../core/errors.ts';
import { setGuardedInterval } from '../../core/guarded-timer.ts';
import type { Logger } from '../../core/logger.ts';

const CHECK_EVERY_MS = 1_000;

export interface UnixListenerOptions {
  readonly server: Server;
  readonly path: string;
  readonly log: Logger;
  /** Default: 1 s. */
  readonly checkEveryMs?: number;
}

/**
 * Has a server listen on a Unix socket that only our own user may use, and makes it again within a second when its file
 * has been removed or replaced: nobody could connect any more, and the server would not notice. Connections that are
 * open go on. Resolves when it listens; returns how to stop looking after it, which leaves the server as it is.
 */
export async function listenOnUnixSocket({
  server,
  path,
  log,
  checkEveryMs = CHECK_EVERY_MS,
}: UnixListenerOptions): Promise<() => void> {
  let inode = await listen(server, path);
  // A connection that could not be accepted is gone; the next may be.
  server.on('error', (error) => log.warn({ error: errorText(error) }, 'accept failed'));
  let isBusy = false;
  let isStopped = false;

  async function check(): Promise<void> {
    if (isStopped || (server.listening && inodeOf(path) === inode)) return;
    log.warn({ path }, 'a socket file is missing: recreating it');
    // Not that of http.Server, which closes idle connections as well.
    if (server.listening) Server.prototype.close.call(server);
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    inode = await listen(server, path);
  }
  const checking = setGuardedInterval({
    everyMs: checkEveryMs,
    work() {
      if (isBusy) return;
      isBusy = true;
      check()
        .catch((error: unknown) => log.error({ path, error: errorText(error) }, 'failed to recreate a socket file'))
        .finally(() => (isBusy = false));
    },
    name: 'socket files',
    log,
  });
  return () => {
    isStopped = true;
    checking.stop();
  };
}

/** Synchronous: every second, for each socket, a thread's turn costs ten times as much as the call. */
function inodeOf(path: string): number | null {
  try {
    return statSync(path, { throwIfNoEntry: false })?.ino ?? null;
  } catch {
    return null;
  }
}

/** Returns the number of the file. */
function listen(server: Server, path: string): Promise<number> {
  rmSync(path, { force: true, recursive: true });
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, () => {
      server.off('error', reject);
      chmodSync(path, 0o600);
      resolve(statSync(path).ino);
    });
  });
}
