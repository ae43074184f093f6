import { lookup } from 'node:dns/promises';
import { isOnPath, runCommand, say } from './run-command.mjs';

/** Programs that tests start, and the Debian package that has each. pgbench is in the same package as the server. */
const PROGRAMS = [
  ['psql', 'postgresql-client'],
  ['pgbench', 'postgresql-contrib'],
  ['curl', 'curl'],
  ['openssl', 'openssl'],
  ['java', 'openjdk-17-jre-headless'],
  ['mvn', 'maven'],
];

/**
 * Installs what is missing when this is Debian and we are root. Otherwise says what to install; tests that need it are
 * skipped with their reason.
 * @returns {Promise<string | null>} a sentence on what is missing, or null
 */
export async function prepareDebianPackages() {
  const missing = [];
  for (const [program, name] of PROGRAMS) if (!(await isOnPath(program))) missing.push({ program, name });
  if (!(await resolvesLocalhostNames())) missing.push({ program: '*.localhost names', name: 'libnss-myhostname' });
  if (missing.length === 0) return null;
  const names = missing.map(({ name }) => name).join(' ');
  const programs = missing.map(({ program }) => program).join(', ');
  if (process.getuid?.() !== 0 || !(await isOnPath('apt-get'))) {
    return `Missing: ${programs}. Tests that need them are skipped. On Debian: sudo apt-get install ${names}`;
  }
  say(`installing Debian packages for the tests, once: ${names}`);
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  const updated = await runCommand('apt-get', ['-qq', 'update'], { env });
  if (updated.code !== 0) return `apt-get update failed, so ${programs} are missing:\n${updated.output.trim()}`;
  const installed = await runCommand(
    'apt-get',
    ['-qq', '-y', '--no-install-recommends', 'install', ...names.split(' ')],
    { env },
  );
  return installed.code === 0 ? null : `apt-get install ${names} failed:\n${installed.output.trim()}`;
}

/** Neo4j drivers look names up by libc, which on Debian knows no name below localhost by itself. */
async function resolvesLocalhostNames() {
  return lookup('name.pods.localhost').then(
    () => true,
    () => false,
  );
}
