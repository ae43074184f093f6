import type { IncomingMessage } from 'node:http';
import { constants } from 'node:os';
import type { Duplex } from 'node:stream';
import { type WebSocket, WebSocketServer } from 'ws';
import type { RunningContainer } from './image.ts';

const PROTOCOL = 'v4.channel.k8s.io';
const [STDIN, STDOUT, STDERR, STATUS] = [0, 1, 2, 3];

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
      sockets.handleUpgrade(request, socket, head, (client) => run(client, target, url.searchParams.getAll('command')));
    },
    close(): void {
      for (const client of sockets.clients) client.terminate();
      sockets.close();
    },
  };
}

function run(client: WebSocket, target: RunningContainer, command: readonly string[]): void {
  const send = (channel: number, bytes: Buffer): void => client.send(Buffer.concat([Buffer.from([channel]), bytes]));
  const finish = (status: object): void => {
    send(STATUS, Buffer.from(JSON.stringify({ kind: 'Status', apiVersion: 'v1', metadata: {}, ...status })));
    client.close();
  };
  const child = target.startBeside(command);
  if (child === null) {
    finish({ status: 'Failure', reason: 'InternalError', message: 'container not found' });
    return;
  }
  child.stdin.on('error', () => undefined);
  child.stdout.on('data', (bytes: Buffer) => send(STDOUT, bytes));
  child.stderr.on('data', (bytes: Buffer) => send(STDERR, bytes));
  // As kubelets do, to tell that the connection is made.
  send(STDOUT, Buffer.alloc(0));
  client.on('message', (data) => {
    if (Buffer.isBuffer(data) && data.readUInt8(0) === STDIN) child.stdin.write(data.subarray(1));
  });
  client.on('close', () => child.stdin.end());
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
