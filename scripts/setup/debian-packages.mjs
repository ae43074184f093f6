import { lookup } from 'node:dns/promises';
import { isOnPath, runCommand, say } from './run-command.mjs';

/** Programs (and files, by their path) that tests need, and the Debian package that has each. pgbench is in the same package as the server. */
const PROGRAMS = [
  ['psql', 'postgresql-client'],
  ['pgbench', 'postgresql-contrib'],
  ['curl', 'curl'],
  ['python3', 'python3'],
  ['pip3', 'python3-pip'],
  ['ss', 'iproute2'],
  ['openssl', 'openssl'],
  ['java', 'openjdk-17-jre-headless'],
  ['mvn', 'maven'],
  ['redis-server', 'redis-server'],
  ['pebble', 'pebble'],
  ['haproxy', 'haproxy'],
  ['faketime', 'faketime'],
  ['nginx', 'nginx-light'],
  ['/usr/lib/nginx/modules/ngx_stream_module.so', 'libnginx-mod-stream'],
  ['h2load', 'nghttp2-client'],
  ['sslscan', 'sslscan'],
  ['testssl', 'testssl.sh'],
  ['named', 'bind9'],
  ['nsupdate', 'bind9-dnsutils'],
  ['chromium', 'chromium'],
  ['zsh', 'zsh'],
  ['fish', 'fish'],
  ['busybox', 'busybox'],
  ['linux.uml', 'user-mode-linux'],
  ['jupyter-notebook', 'jupyter-notebook'],
  ['mariadbd', 'mariadb-server-core'],
  ['mariadb', 'mariadb-client-core'],
  ['socat', 'socat'],
  ['tini', 'tini'],
  ['/usr/share/java/postgresql.jar', 'libpostgresql-jdbc-java'],
  ['/usr/lib/python3/dist-packages/psycopg2/__init__.py', 'python3-psycopg2'],
];

/**
 * Installs the Debian packages of programs that are missing. Tests that need one that stays missing are skipped, with
 * their reason.
 * @returns {Promise<string | null>} a sentence on what is missing, or null
 */
export async function prepareDebianPackages() {
  const missing = [];
  for (const [program, name] of PROGRAMS) if (!(await isOnPath(program))) missing.push(name);
  if (!(await resolvesLocalhostNames())) missing.push('libnss-myhostname');
  return missing.length === 0 ? null : await installDebianPackages(missing, 'for the tests');
}

/**
 * Installs these packages when this is Debian and we are root; says what to do otherwise.
 * @param {readonly string[]} names
 * @param {string} purpose for the line that is shown
 * @returns {Promise<string | null>} a sentence on what went wrong, or null
 */
export async function installDebianPackages(names, purpose) {
  if (process.getuid?.() !== 0 || !(await isOnPath('apt-get'))) {
    return `Something is missing ${purpose}. On Debian: sudo apt-get install ${names.join(' ')}`;
  }
  say(`installing Debian packages ${purpose}, once: ${names.join(' ')}`);
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  const updated = await runCommand('apt-get', ['-qq', 'update'], { env });
  if (updated.code !== 0) return `apt-get update failed:\n${updated.output.trim()}`;
  const installed = await runCommand('apt-get', ['-qq', '-y', '--no-install-recommends', 'install', ...names], { env });
  return installed.code === 0 ? null : `apt-get install ${names.join(' ')} failed:\n${installed.output.trim()}`;
}

/** Neo4j drivers look names up by libc, which on Debian knows no name below localhost by itself. */
async function resolvesLocalhostNames() {
  return lookup('name.pods.localhost').then(
    () => true,
    () => false,
  );
}
