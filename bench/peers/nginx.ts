import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { freePorts } from '../../test/support/free-ports.ts';
import { HOSTS, type Peer, type Setting } from './peer.ts';
import { startServer } from './processes.ts';
import { missingProgram } from './missing-program.ts';
import { inNewerDebian, missingNewerDebian, NEWER_STREAM_MODULE } from './newer-debian.ts';

const STREAM_MODULE = '/usr/lib/nginx/modules/ngx_stream_module.so';

/** One worker, stream for TCP and Postgres (with ALPN: clients begin with TLS), http with kept connections. */
function nginxOf(
  name: string,
  missing: () => Promise<string | null>,
  command: (...args: readonly string[]) => readonly string[],
  streamModule: string,
): Peer {
  return {
    name,
    missing,
    async start(setting) {
      const [echo = 0, web = 0, bulk = 0, postgres = 0] = await freePorts(4);
      const file = join(setting.directory, `${name}.conf`);
      await writeFile(file, configuration(setting, { echo, web, bulk, postgres }, streamModule));
      const server = await startServer(command('-c', file, '-p', setting.directory), echo);
      return { ...server, ports: { echo, web, bulk, postgres } };
    },
  };
}

/** nginx 1.26 with OpenSSL 3.5. */
export const nginx = nginxOf(
  'nginx',
  missingNewerDebian,
  (...args) => inNewerDebian('nginx', ...args),
  NEWER_STREAM_MODULE,
);

/** The nginx of the Debian that this machine runs: 1.22 with OpenSSL 3.0. */
export const olderNginx = nginxOf(
  'nginx-1.22',
  () => missingProgram('nginx', 'nginx-light libnginx-mod-stream'),
  (...args) => ['nginx', ...args],
  STREAM_MODULE,
);

function configuration(
  setting: Setting,
  ports: Readonly<Record<keyof Setting['backends'], number>>,
  streamModule: string,
): string {
  const { backends } = setting;
  const tls = `
    ssl_certificate ${setting.certificateFile};
    ssl_certificate_key ${setting.keyFile};
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_session_tickets on;`;
  const stream = (service: 'echo' | 'bulk' | 'postgres', more = ''): string =>
    `server { listen 127.0.0.1:${ports[service]} ssl backlog=4096; ${more} proxy_pass 127.0.0.1:${backends[service]}; }`;
  return `
daemon off;
worker_processes 1;
worker_rlimit_nofile 20000;
pid nginx-${ports.echo}.pid;
error_log stderr error;
load_module ${streamModule};
events { worker_connections 16384; }
stream {${tls}
  ${stream('echo')}
  ${stream('bulk')}
  ${stream('postgres', 'ssl_alpn postgresql;')}
}
http {${tls}
  access_log off;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
  keepalive_requests 1000000000;
  upstream web { server 127.0.0.1:${backends.web}; keepalive 64; keepalive_requests 1000000000; }
  server {
    listen 127.0.0.1:${ports.web} ssl http2 backlog=4096;
    server_name ${HOSTS.web};
    location / {
      proxy_pass http://web;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $host;
      proxy_set_header X-Forwarded-For $remote_addr;
      proxy_set_header X-Forwarded-Proto https;
      proxy_set_header X-Forwarded-Host $host;
      proxy_set_header X-Request-Id $request_id;
    }
  }
}
`;
}
