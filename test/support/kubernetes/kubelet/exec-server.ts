import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { rmSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Duplex, Readable } from 'node:stream';
import { type WebSocket, WebSocketServer } from 'ws';
import { shellWord } from '../../../../core/shell-word.ts';
import type { RunningContainer } from './image.ts';

const SENDING_MAX_BYTES = 64 * 1024;
const PROTOCOL = 'v4.channel.k8s.io';
const [STDIN, STDOUT, STDERR, STATUS, RESIZE] = [0, 1, 2, 3, 4];

/**
 * `/exec/NAMESPACE/POD/CONTAINER?command=...` of a kubelet over WebSocket, protocol 4. As with a container runtime, a
 * command whose client has gone goes on, with its standard input at an end. Protocol 5, which has an end of standard input
 * before that, would come as SPDY.
 */
export function serveExec(running: (namespace: string, pod: string, container: string) => RunningContainer | null) {
  const sockets = new WebSocketServer({
    noServer: true,
    handleProtocols: (offered) => (offered.has(PROTOCOL) ? PROTOCOL : false),
  });
  return {
    upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
      const url = new URL(request.url ?? '/', 'https://kubelet');
      const [, kind, namespace = '', pod = '', container = ''] = url.pathname.split('/').map(decodeURIComponent);
      const target = kind === 'exec' ? running(namespace, pod, container) : null;
      if (target === null) {
        socket.end('HTTP/1.1 404 Not Found\r\ncontent-length: 19\r\n\r\ncontainer not found');
        return;
      }
      sockets.handleUpgrade(request, socket, head, (client) => {
        const command = url.searchParams.getAll('command');
        run(
          client,
          target,
          url.searchParams.get('tty') === '1' ? onTerminal(command) : { command, resize: null, over: () => undefined },
        );
      });
    },
    close(): void {
      for (const client of sockets.clients) client.terminate();
      sockets.close();
    },
  };
}

interface Command {
  readonly command: readonly string[];
  /** Of a command on a terminal. */
  readonly resize: ((size: { readonly Width: number; readonly Height: number }) => void) | null;
  /** It has ended. */
  readonly over: () => void;
}

/** script(1) makes the terminal. It is known by its path, which the command writes down first. */
function onTerminal(command: readonly string[]): Command {
  const file = join(tmpdir(), `podgate-tty-${randomUUID()}`);
  const line = `tty >${file}; stty sane; exec ${command.map(shellWord).join(' ')}`;
  let isOver = false;
  let wanted: { readonly Width: number; readonly Height: number } | null = null;
  let isSizing = false;
  // One after the other: the last size stays.
  const applySize = (): void => {
    const size = wanted;
    if (size === null || isSizing || isOver) return;
    isSizing = true;
    const args = ['-c', `stty -F "$(cat ${file})" rows "$1" cols "$2"`, 'sh', String(size.Height), String(size.Width)];
    execFile('/bin/sh', args, (error) => {
      isSizing = false;
      if (error === null && wanted === size) wanted = null;
      // It may not have begun yet.
      setTimeout(applySize, error === null ? 0 : 50).unref();
    });
  };
  return {
    command: ['env', 'SHELL=/bin/sh', 'script', '-q', '-e', '-f', '-c', line, '/dev/null'],
    resize: (size) => {
      wanted = size;
      applySize();
    },
    over: () => {
      isOver = true;
      rmSync(file, { force: true });
    },
  };
}

function run(client: WebSocket, target: RunningContainer, { command, resize, over }: Command): void {
  const send = (channel: number, bytes: Buffer): void => client.send(Buffer.concat([Buffer.from([channel]), bytes]));
  // As containerd does at once: whatever the client has sent and nobody has read resets the connection.
  const finish = (status: object): void => {
    const text = JSON.stringify({ kind: 'Status', apiVersion: 'v1', metadata: {}, ...status });
    client.send(Buffer.concat([Buffer.from([STATUS]), Buffer.from(text)]), () => {
      client.close();
      if (client.isPaused) client.terminate();
    });
  };
  const child = target.startBeside(command);
  if (child === null) {
    finish({ status: 'Failure', reason: 'InternalError', message: 'container not found' });
    return;
  }
  // Like a container's other processes, which end with its first one.
  void target.ended.then(() => child.kill('SIGKILL'));
  child.once('close', over);
  child.stdin.on('error', () => undefined);
  // What the client does not take waits in the command.
  const pipe = (from: Readable, channel: number): void => {
    from.on('data', (bytes: Buffer) => {
      const message = Buffer.concat([Buffer.from([channel]), bytes]);
      client.send(message, () => client.bufferedAmount < SENDING_MAX_BYTES && from.resume());
      if (client.bufferedAmount >= SENDING_MAX_BYTES) from.pause();
    });
    // It has gone: the command shall not wait for it.
    client.on('close', () => from.resume());
  };
  pipe(child.stdout, STDOUT);
  pipe(child.stderr, STDERR);
  // As kubelets do, to tell that the connection is made.
  send(STDOUT, Buffer.alloc(0));
  // What the command does not read waits in the connection, with its end behind it.
  client.on('message', (data) => {
    if (!Buffer.isBuffer(data)) return;
    if (data.readUInt8(0) === STDIN) {
      if (!child.stdin.write(data.subarray(1))) client.pause();
    } else if (data.readUInt8(0) === RESIZE) {
      resize?.(JSON.parse(data.subarray(1).toString()) as { Width: number; Height: number });
    }
  });
  child.stdin.on('drain', () => client.resume());
  // A terminal learns nothing of it.
  if (resize === null) client.on('close', () => child.stdin.end());
  client.on('error', () => undefined);
  child.on('error', (error) => finish({ status: 'Failure', reason: 'InternalError', message: error.message }));
  child.on('close', (code, signal) => {
    const exitCode = signal === null ? (code ?? 1) : 128 + constants.signals[signal];
    if (exitCode === 0) {
      finish({ status: 'Success' });
      return;
    }
    finish({
      status: 'Failure',
      reason: 'NonZeroExitCode',
      message: `command terminated with non-zero exit code: error executing command, exit code ${exitCode}`,
      details: { causes: [{ reason: 'ExitCode', message: String(exitCode) }] },
    });
  });
}
