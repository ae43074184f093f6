import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { Program } from '../support/program.ts';
import { run } from '../support/run.ts';
import { createTestAuthority } from '../support/test-authority.ts';
import { until } from '../support/until.ts';

let directory: string;
let program: Program | null = null;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'podgate-certificate-files-'));
});
afterEach(async () => {
  await program?.dispose();
  program = null;
  await rm(directory, { recursive: true, force: true });
});

const file = (name: string): string => join(directory, name);

it('certificate files are served before the development CA, and a new one without a restart', async () => {
  const [one, other] = await Promise.all([
    createTestAuthority(['*.pods.localhost']),
    createTestAuthority(['*.pods.localhost']),
  ]);
  await Promise.all([
    writeFile(file('tls.crt'), one.certificate),
    writeFile(file('tls.key'), one.key),
    writeFile(file('one.pem'), one.ca),
    writeFile(file('other.pem'), other.ca),
    writeFile(
      file('podgate.yaml'),
      `certificates: [{ certificateFile: ${file('tls.crt')}, keyFile: ${file('tls.key')} }]\n`,
    ),
  ]);
  program = await Program.start({ workers: 2, env: { PODGATE_CONFIG: file('podgate.yaml') } });
  const { httpsPort, caPath } = program;
  await program.createPod({ pod_id: 'hello', pod_template: 'podgate/hello' });
  const curl = async (host: string, ca: string): Promise<string> =>
    run('curl', [
      ...['-sS', '-o', '/dev/null', '-w', '%{http_code}', '--max-time', '20', '--cacert', ca],
      ...['--resolve', `${host}:${httpsPort}:127.0.0.1`, `https://${host}:${httpsPort}/`],
    ]).then(({ code, stdout }) => (code === 60 ? 'not trusted' : stdout));
  expect(await curl('hello.pods.localhost', file('one.pem'))).toBe('200');
  // The API's own name is in no file.
  expect(await curl('localhost', caPath)).toBe('200');

  await Promise.all([writeFile(file('tls.crt'), other.certificate), writeFile(file('tls.key'), other.key)]);
  await until('every worker has the new one', async () => {
    const seen = await Promise.all(Array.from({ length: 6 }, () => curl('hello.pods.localhost', file('other.pem'))));
    return seen.every((status) => status === '200');
  });
  expect(await curl('hello.pods.localhost', file('one.pem'))).toBe('not trusted');
});

it('a broken pair at the start is reported with its file and the reason, and nothing starts', async () => {
  const { certificate } = await createTestAuthority(['*.pods.localhost']);
  const { key } = await createTestAuthority(['*.pods.localhost']);
  await writeFile(file('tls.crt'), certificate);
  await writeFile(file('tls.key'), key);
  await writeFile(file('podgate.yaml'), 'certificates: [{ certificateFile: tls.crt, keyFile: tls.key }]\n');
  const started = run(process.execPath, [join(import.meta.dirname, '..', '..', 'main.ts')], {
    env: { PODGATE_CONFIG: file('podgate.yaml'), PODGATE_DATA_DIR: file('data') },
    cwd: directory,
  });
  const { code, stderr } = await started;
  expect(code).toBe(78);
  expect(stderr).toContain(`PODGATE_CONFIG certificates: ${file('tls.crt')}: the key does not match the certificate.`);
});
