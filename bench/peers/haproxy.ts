import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { freePorts } from '../../test/support/free-ports.ts';
import { inNewerDebian, missingNewerDebian } from './newer-debian.ts';
import type { Peer, Setting } from './peer.ts';
import { startServer } from './processes.ts';

/** HAProxy 3.0 with OpenSSL 3.5: one thread, connections to the backend kept and shared. */
export const haproxy: Peer = {
  name: 'HAProxy',
  missing: missingNewerDebian,
  async start(setting) {
    const [echo = 0, web = 0, bulk = 0, postgres = 0] = await freePorts(4);
    const ports = { echo, web, bulk, postgres };
    const file = join(setting.directory, 'haproxy.cfg');
    await writeFile(file, configuration(setting, ports));
    const server = await startServer(inNewerDebian('haproxy', '-db', '-f', file), echo);
    return { ...server, ports };
  },
};

function configuration(setting: Setting, ports: Readonly<Record<keyof Setting['backends'], number>>): string {
  const bind = (service: keyof typeof ports, alpn = ''): string =>
    `bind 127.0.0.1:${ports[service]} ssl crt ${setting.bothFile}${alpn}`;
  const tcp = (service: 'echo' | 'bulk' | 'postgres', alpn = ''): string => `
listen ${service}
  mode tcp
  ${bind(service, alpn)}
  server backend 127.0.0.1:${setting.backends[service]}`;
  return `
global
  nbthread 1
  maxconn 8000
  tune.ssl.default-dh-param 2048
defaults
  timeout connect 5s
  timeout client 10m
  timeout server 10m
${tcp('echo')}
${tcp('bulk')}
${tcp('postgres', ' alpn postgresql')}
listen web
  mode http
  ${bind('web', ' alpn h2,http/1.1')}
  option forwardfor
  http-request set-header X-Forwarded-Proto https
  http-request set-header X-Forwarded-Host %[req.hdr(Host)]
  unique-id-format %[uuid()]
  unique-id-header X-Request-Id
  http-reuse always
  server backend 127.0.0.1:${setting.backends.web}
`;
}
