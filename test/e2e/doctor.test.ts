import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Program } from '../support/program.ts';
import { run } from '../support/run.ts';

const CLI = join(import.meta.dirname, '../../bin/podgate.mjs');

describe('podgate doctor on one machine', () => {
  let program: Program;
  beforeAll(async () => {
    program = await Program.prepare({ workers: 1 });
    await program.start();
  });
  afterAll(() => program.dispose());

  const doctor = (...args: readonly string[]) =>
    run(process.execPath, [CLI, 'doctor', ...args], {
      env: {
        PODGATE_DATA_DIR: program.dataDir,
        PODGATE_HTTPS_PORT: String(program.httpsPort),
        PODGATE_HTTP_PORT: String(program.httpPort),
        PODGATE_CONTROL_PORT: String(program.controlPort),
      },
    });

  it('accepts a running program: ready, with certificates for its names that its CA has signed', async () => {
    const { code, stdout } = await doctor();
    expect(stdout).toContain('ok    settings: The settings are valid.');
    expect(stdout).toContain(`ok    store: Records are in ${program.dataDir}.`);
    expect(stdout).toMatch(/^ok {4}Podgate: Podgate is running and ready: .*store healthy/m);
    expect(stdout).toMatch(/^ok {4}certificate: The certificate for localhost is valid until \d{4}-\d\d-\d\d\.$/m);
    expect(stdout).toMatch(/^ok {4}certificate: The certificate for podgate-doctor\.pods\.localhost is valid until/m);
    expect(stdout).toMatch(/\n\d+ ok, \d+ to look at, 0 failed\n$/);
    expect(code).toBe(0);
  });

  it('needs only the data directory, where the running program has stored its ports', async () => {
    const env = { PODGATE_DATA_DIR: program.dataDir };
    const { code, stdout } = await run(process.execPath, [CLI, 'doctor'], { env });
    expect(stdout).toMatch(/^ok {4}Podgate: Podgate is running and ready/m);
    expect(stdout).toMatch(/^ok {4}certificate: The certificate for localhost is valid until/m);
    expect(stdout).toContain(`port ${program.httpsPort} is open there.`);
    expect(code).toBe(0);
    const other = await run(process.execPath, [CLI, 'doctor'], {
      env: { ...env, PODGATE_BASE_HOST: 'other.localhost' },
    });
    expect(other.stdout).toContain(
      'WARN  settings: The running Podgate has different settings: its base host is localhost.',
    );
  });

  it('reports wrong settings, a program that does not run, and wrong usage', async () => {
    const wrong = await run(process.execPath, [CLI, 'doctor'], { env: { PODGATE_SITE: 'Not a site' } });
    expect(wrong.stdout).toMatch(/^FAIL {2}settings: PODGATE_SITE: must be/);
    expect(wrong.code).toBe(1);
    expect((await doctor('--nonsense')).code).toBe(2);
    expect((await doctor('--help')).stdout).toMatch(/^Usage: podgate doctor /);
    await program.stop();
    const { code, stdout } = await doctor();
    expect(stdout).toMatch(/^FAIL {2}Podgate: No response from/m);
    expect(stdout).toMatch(/^FAIL {2}gateway: No TLS response for localhost/m);
    expect(code).toBe(1);
  });
});
