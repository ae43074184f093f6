import { execFileSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { portVariables } from '../../../spawner/orchestrator/process/ports.ts';
import { isPlainName } from '../../../spawner/orchestrator/process/paths.ts';
import { userRange } from '../../../spawner/orchestrator/process/os-users.ts';
import { planAfterExit } from '../../../spawner/orchestrator/process/restart-policy.ts';
import { exitOfShellCode } from '../../../spawner/orchestrator/exec/shell-exit.ts';
import { parseShimStatus } from '../../../spawner/orchestrator/process/shim.ts';
import { decidingListeners, parseListeners } from '../../../spawner/orchestrator/process/listeners.ts';
import { silenceText } from '../../../spawner/orchestrator/process/readiness.ts';
import { environmentScript } from '../../../spawner/orchestrator/process/room.ts';

describe('what the shim has written', () => {
  const stat = `77 (sh) S 1 77 77 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 4711 0`;

  it('is nothing before it has started', () => {
    expect(parseShimStatus('')).toEqual({ started: null, exit: null });
  });

  it('is its pid and start, then how the program ended', () => {
    const started = { pid: 77, start: '4711' };
    expect(parseShimStatus(`started 77 ${stat}\n`)).toEqual({ started, exit: null });
    expect(parseShimStatus(`started 77 ${stat}\nexited 3\n`)).toEqual({ started, exit: { kind: 'code', code: 3 } });
    expect(parseShimStatus(`started 77 ${stat}\nexited 137\n`).exit).toEqual({ kind: 'signal', signal: 'SIGKILL' });
  });

  it('is the pid alone without /proc, and ignores a partial end record', () => {
    expect(parseShimStatus('started 77 \n')).toEqual({ started: { pid: 77, start: null }, exit: null });
    expect(parseShimStatus('started 77 \nexited 1').exit).toBeNull();
  });

  it.each([
    [0, { kind: 'code', code: 0 }],
    [128, { kind: 'code', code: 128 }],
    [143, { kind: 'signal', signal: 'SIGTERM' }],
    [255, { kind: 'code', code: 255 }],
  ])('takes code %i for what a shell means by it', (code, exit) => {
    expect(exitOfShellCode(code)).toEqual(exit);
  });
});

describe('what follows the end of a program', () => {
  const input = {
    failure: { kind: 'code', code: 1 },
    mayComplete: true,
    failuresBefore: 0,
    readyForMs: null,
    firstDelayMs: 1_000,
  } as const;

  it('is completion after code 0, for programs that may complete', () => {
    expect(planAfterExit({ ...input, failure: { kind: 'code', code: 0 } })).toEqual({ kind: 'completed' });
    expect(planAfterExit({ ...input, failure: { kind: 'code', code: 0 }, mayComplete: false })).toMatchObject({
      kind: 'restart',
      message: 'exited with code 0',
    });
  });

  it('is a restart after 1, 2, 4 ... 60 s, a crash loop from the third failure on', () => {
    const plans = Array.from({ length: 10 }, (_, failuresBefore) => planAfterExit({ ...input, failuresBefore }));
    expect(plans.map((plan) => (plan.kind === 'restart' ? plan.delayMs / 1_000 : null))).toEqual([
      1, 2, 4, 8, 16, 32, 60, 60, 60, 60,
    ]);
    expect(plans.map((plan) => plan.kind === 'restart' && plan.isCrashing)).toEqual([
      false,
      false,
      ...Array.from({ length: 8 }, () => true),
    ]);
    expect(plans[2]).toMatchObject({ message: 'exited with code 1, 3 times in a row' });
  });

  it('keeps the reason and the count of a crash loop in one sentence', () => {
    const failure = { kind: 'not-started', reason: 'could not be started: The disk is full.' } as const;
    expect(planAfterExit({ ...input, failuresBefore: 2, failure })).toMatchObject({
      message: 'could not be started: The disk is full, 3 times in a row',
    });
  });

  it('starts over for a program that was ready for a while', () => {
    expect(planAfterExit({ ...input, failuresBefore: 7, readyForMs: 10_000 })).toMatchObject({
      failures: 1,
      delayMs: 1_000,
    });
    expect(planAfterExit({ ...input, failuresBefore: 7, readyForMs: 9_999 })).toMatchObject({ failures: 8 });
  });
});

describe('who listens on a port', () => {
  const header = '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n';
  const line = (local: string, state: string, uid: number, inode: number) =>
    `   0: ${local} 00000000:0000 ${state} 00000000:00000000 00:00000000 00000000  ${uid}        0 ${inode} 1 0000 100 0 0 10 0\n`;

  it('is found among all sockets, with the address', () => {
    const port = '4E20';
    const text =
      header +
      line(`0100007F:${port}`, '0A', 5, 1) +
      line(`00000000:${port}`, '0A', 6, 2) +
      line(`0100007F:${port}`, '01', 7, 3) +
      line('0100007F:4E21', '0A', 8, 4) +
      line(`0200007F:${port}`, '0A', 9, 5);
    const four = parseListeners(text);
    expect(four.map(({ address, port, uid, inode }) => [address, port, uid, inode])).toEqual([
      ['127.0.0.1', 20_000, 5, '1'],
      ['0.0.0.0', 20_000, 6, '2'],
      ['127.0.0.1', 20_001, 8, '4'],
      ['127.0.0.2', 20_000, 9, '5'],
    ]);
    const six = parseListeners(
      header +
        line(`00000000000000000000000000000000:${port}`, '0A', 5, 1) +
        line(`0000000000000000FFFF00000100007F:${port}`, '0A', 6, 2) +
        line(`00000000000000000000000001000000:${port}`, '0A', 7, 3) +
        line(`B80D0120000000000000000001000000:${port}`, '0A', 8, 4),
    );
    expect(six.map(({ address }) => address)).toEqual(['::', '127.0.0.1', '::1', '2001:db8::1']);
  });

  it('decides by IPv4 alone when there is an IPv4 listener: another process on [::] changes nothing', () => {
    const at = (address: string, uid: number) => ({ address, port: 20_000, uid, inode: String(uid) });
    const uids = (address: string, ...listeners: readonly ReturnType<typeof at>[]) =>
      decidingListeners(listeners, { address, port: 20_000 }).map(({ uid }) => uid);
    expect(uids('127.0.0.1', at('::', 6), at('127.0.0.1', 5))).toEqual([5]);
    expect(uids('127.0.0.1', at('::', 6), at('0.0.0.0', 5))).toEqual([5]);
    expect(uids('127.0.0.1', at('::', 6))).toEqual([6]);
    expect(uids('127.0.0.1', at('::1', 6))).toEqual([]);
    expect(uids('::1', at('::', 6), at('::1', 5), at('127.0.0.1', 7))).toEqual([5]);
    expect(uids('::1', at('127.0.0.1', 7))).toEqual([]);
    expect(decidingListeners([at('127.0.0.1', 5)], { address: '127.0.0.1', port: 20_001 })).toEqual([]);
  });

  it('is empty for a malformed table', () => {
    expect(parseListeners('')).toEqual([]);
    expect(parseListeners('a b c\n\n:')).toEqual([]);
  });

  it('is reported to the user of a program that is not ready', () => {
    const at = (address: string, port: number) => ({ address, port, uid: 1, inode: '1' });
    const watched = { stanza: 'default', port: 20_000 };
    expect(silenceText([], watched)).toBe('does not listen on port 20000 ($PORT) yet');
    expect(silenceText([at('127.0.0.1', 3_000), at('::1', 3_000)], watched)).toBe(
      'listens on 127.0.0.1:3000, [::1]:3000, not on port 20000 ($PORT)',
    );
    expect(silenceText([at('0.0.0.0', 20_000)], { ...watched, stanza: 'web' })).toBe(
      'listens on port 20000 ($PORT_WEB), but is not ready yet',
    );
    expect(
      silenceText(
        [1, 2, 3, 4].map((port) => at('::', port)),
        watched,
      ),
    ).toBe('listens on [::]:1, [::]:2, [::]:3 and others, not on port 20000 ($PORT)');
  });
});

describe('the environment of a program', () => {
  const run = (environment: Record<string, string>) =>
    execFileSync('/bin/sh', ['-c', `${environmentScript(environment)}exec env -0`], { env: {}, encoding: 'latin1' })
      .split('\0')
      .filter((line) => line.startsWith('V_'));

  it('passes through a shell as it was written', () => {
    const values = ["it's", '$HOME `id` "x" \\', 'two\nlines', '', ' a  b ', "'; exit 1; '"];
    const environment = Object.fromEntries(values.map((value, index) => [`V_${index}`, value]));
    expect(run(environment)).toEqual(values.map((value, index) => `V_${index}=${value}`));
  });

  it('omits invalid shell names, and names that the shell reserves', () => {
    expect(environmentScript({ 'a-b': '1', 'c;id': '2', UID: '3', '': '4' })).toBe('');
  });
});

describe('the users of pods', () => {
  it('are above all that others give away, where all are mapped', () => {
    const range = userRange('         0          0 4294967295\n');
    expect(range?.first).toBeGreaterThan(1_879_048_191);
    expect(range?.last).toBeLessThan(2 ** 31);
  });

  it('are in the upper part of a container with few', () => {
    expect(userRange('0 1000 1\n1 100000 65536\n')).toEqual({ first: 20_000, last: 65_536 });
  });

  it('are empty when there are none', () => {
    expect(userRange('0 1000 1\n')).toBeNull();
    expect(userRange('')).toBeNull();
    expect(userRange('x y z')).toBeNull();
  });
});

describe('names', () => {
  it('of ports are those of the stanzas', () => {
    expect(portVariables({ default: 1, metrics: 2 })).toEqual({ PORT: '1', PORT_DEFAULT: '1', PORT_METRICS: '2' });
    expect(portVariables({ web: 3 })).toEqual({ PORT_WEB: '3' });
  });

  it.each([
    ['0198c2c4-6b1e-7000-8000-000000000000', true],
    ['..', false],
    ['a/b', false],
    ['', false],
    ['.hidden', false],
  ])('of directories may be %j: %s', (uid, isPlain) => {
    expect(isPlainName(uid)).toBe(isPlain);
  });
});
