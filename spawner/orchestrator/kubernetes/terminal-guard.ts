import { setTimeout as sleep } from 'node:timers/promises';
import type { ExecResult } from '../../../core/shell.ts';
import type { KubeApi } from './api/kube-api.ts';
import { CHANNEL } from './api/kube-channels.ts';
import { execQuery, refusedBy, resultOf, statusOf } from './exec-in-pod.ts';

/** For the guard to kill what is left, and to say so. */
const END_MS = 5_000;
const NO_CAT =
  'The image of this pod has no cat(1), with which Podgate ends the programs of a terminal that is closed.';

/**
 * Waits beside a terminal until its standard input ends, which it does when the connection is closed and when Podgate has
 * died. Then it kills every process with the mark $1 in its environment or its arguments, but itself, until there is none.
 * The shell reads them, without NUL bytes: the grep of BusyBox sees nothing behind the first. It keeps its standard error
 * open, as descriptor 3: where that is missing or closed, containerd ends the standard input at once (seen on a real node).
 */
const GUARD_SCRIPT = `
exec 3>&2 2>/dev/null
command -v cat >/dev/null || exit 126
echo ready
read -r _podgate_end
rounds=0
found=yes
while [ -n "$found" ] && [ "$rounds" -lt 50 ]; do
  found=
  rounds=$((rounds + 1))
  for process in /proc/[0-9]*; do
    pid=\${process#/proc/}
    [ "$pid" != "$$" ] || continue
    case $(cat "$process/environ" "$process/cmdline") in
      *"$1"*) if kill -s KILL "$pid"; then found=yes; fi ;;
    esac
  done
done
exit 0
`;

type Guard =
  | {
      readonly kind: 'open';
      /** Resolves when nothing of the terminal is left, or nothing can be done about it. */
      end(): Promise<void>;
    }
  | Extract<ExecResult, { kind: 'refused' }>;

/** Starts a guard in the container; `path` of exec there. Resolves when it is on guard. */
export async function openGuard(
  api: Pick<KubeApi, 'openChannels'>,
  path: string,
  mark: string,
  signal: AbortSignal,
): Promise<Guard> {
  const status = Promise.withResolvers<Buffer>();
  const ready = Promise.withResolvers<null>();
  const channels = await api.openChannels(
    path,
    execQuery(['/bin/sh', '-c', GUARD_SCRIPT, 'podgate-exec', mark]),
    (channel, bytes) => {
      if (channel === CHANNEL.status) status.resolve(bytes);
      else if (channel === CHANNEL.stdout && bytes.length > 0) ready.resolve(null);
    },
    signal,
  );
  if (channels.kind === 'refused') return refusedBy(path, channels);
  const ended = statusOf(status.promise, channels, signal);
  ended.catch(() => undefined);
  try {
    const early = await Promise.race([ready.promise, ended]);
    if (early !== null) {
      channels.close();
      const result = resultOf(early);
      return result.kind === 'refused' ? result : { kind: 'refused', reason: NO_CAT };
    }
  } catch (error) {
    channels.close();
    throw error;
  }
  return {
    kind: 'open',
    end: async () => {
      await channels.send(CHANNEL.stdin, Buffer.from('\n')).catch(() => undefined);
      await Promise.race([status.promise, channels.closed, sleep(END_MS, undefined, { ref: false })]);
      channels.close();
    },
  };
}
