import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { freePorts } from '../../test/support/free-ports.ts';
import { missingProgram } from './missing-program.ts';
import { HOSTS, type Peer } from './peer.ts';
import { startServer } from './processes.ts';

/** Debian's Caddy on one processor. It forwards HTTP alone: TCP is a plugin that Debian has not. */
export const caddy: Peer = {
  name: 'Caddy',
  missing: () => missingProgram('caddy', 'caddy'),
  async start({ directory, certificateFile, keyFile, backends }) {
    const [web = 0] = await freePorts(1);
    const file = join(directory, 'Caddyfile');
    await writeFile(
      file,
      `{
  admin off
  auto_https off
}
https://${HOSTS.web}:${web} {
  bind 127.0.0.1
  tls ${certificateFile} ${keyFile}
  reverse_proxy 127.0.0.1:${backends.web}
}
`,
    );
    const env = { GOMAXPROCS: '1', HOME: directory, XDG_DATA_HOME: directory, XDG_CONFIG_HOME: directory };
    const server = await startServer(['caddy', 'run', '--config', file, '--adapter', 'caddyfile'], web, env);
    return { ...server, ports: { web } };
  },
};
