import { once } from 'node:events';
import { createServer } from 'node:https';
import type { ServerResponse } from 'node:http';
import type { KeyAndCertificate } from '../certificates.ts';
import type { ContainerLog, LogQuery } from './container-log.ts';
import { serveExec } from './exec-server.ts';
import type { RunningContainer } from './image.ts';

export const KUBELET_PORT = 10_250;

export interface KubeletServerOptions {
  readonly address: string;
  readonly ca: string;
  readonly tls: KeyAndCertificate;
  readonly find: (namespace: string, pod: string, container: string, previous: boolean) => ContainerLog | string;
  readonly running: (namespace: string, pod: string, container: string) => RunningContainer | null;
}

/** What the API server asks a kubelet for pods/log and pods/exec. Only who has a certificate of the CA is answered. */
export async function startKubeletServer(options: KubeletServerOptions): Promise<{ close(): Promise<void> }> {
  const { address, ca, tls, find } = options;
  const server = createServer(
    { ca, cert: tls.certificate, key: tls.key, requestCert: true, rejectUnauthorized: true },
    (incoming, response) => {
      const url = new URL(incoming.url ?? '/', `https://${address}`);
      const [, kind, namespace, pod, container] = url.pathname.split('/').map(decodeURIComponent);
      if (kind !== 'containerLogs' || namespace === undefined || pod === undefined || container === undefined) {
        refuse(response, 404, 'the stand-in serves containerLogs and exec only');
        return;
      }
      const log = find(namespace, pod, container, url.searchParams.get('previous') === 'true');
      if (typeof log === 'string') {
        refuse(response, 400, log);
        return;
      }
      response.writeHead(200, { 'content-type': 'text/plain' });
      response.write(log.read(queryOf(url.searchParams)));
      if (url.searchParams.get('follow') !== 'true') {
        response.end();
        return;
      }
      const stop = log.follow(url.searchParams.get('timestamps') === 'true', (line) => response.write(line));
      response.on('close', stop);
    },
  );
  const exec = serveExec(options.running);
  server.on('upgrade', (request, socket, head: Buffer) => exec.upgrade(request, socket, head));
  server.listen({ host: address, port: KUBELET_PORT, exclusive: true });
  await once(server, 'listening');
  return {
    async close() {
      const closed = once(server, 'close');
      server.close();
      exec.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

function queryOf(parameters: URLSearchParams): LogQuery {
  const number = (name: string): number | null => {
    const text = parameters.get(name);
    return text === null ? null : Number(text);
  };
  const sinceSeconds = number('sinceSeconds');
  const sinceTime = parameters.get('sinceTime');
  return {
    tailLines: number('tailLines'),
    limitBytes: number('limitBytes'),
    sinceMs:
      sinceTime === null ? (sinceSeconds === null ? null : Date.now() - sinceSeconds * 1_000) : Date.parse(sinceTime),
    timestamps: parameters.get('timestamps') === 'true',
  };
}

function refuse(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, { 'content-type': 'text/plain' });
  response.end(text);
}
