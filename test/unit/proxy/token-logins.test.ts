import { expect, it } from 'vitest';
import type { LoginAnswer } from '../../../core/feed-protocol.ts';
import { TokenLogins } from '../../../proxy/policy/token-logins.ts';

const ALICE: LoginAnswer = { kind: 'user', user: 'alice', expiresAtMs: 1_000_000 };

function stage(isReachable = true) {
  let nowMs = 0;
  const asked: number[] = [];
  const logins = new TokenLogins({
    ask: (id) => isReachable && asked.push(id) > 0,
    clock: { now: () => nowMs, monotonicMs: () => nowMs },
  });
  const proven = (token: string) => new Promise<void>((done) => logins.ask('localhost', token, done));
  return { logins, asked, proven, pass: (ms: number) => (nowMs += ms) };
}

it('asks once for concurrent requests, and caches the result for a minute', async () => {
  const { logins, asked, proven, pass } = stage();
  const both = Promise.all([proven('one'), proven('one')]);
  expect(asked).toHaveLength(1);
  expect(logins.find('localhost', 'one')).toBeNull();
  logins.answered(asked[0] ?? 0, ALICE);
  await both;
  expect(logins.find('localhost', 'one')).toEqual(ALICE);
  expect(logins.find('other.example', 'one')).toBeNull();
  expect(logins.find('localhost', 'two')).toBeNull();
  pass(59_999);
  expect(logins.find('localhost', 'one')).toEqual(ALICE);
  pass(1);
  expect(logins.find('localhost', 'one')).toBeNull();
});

it('caches a token at most until it expires, and a refusal for a moment', async () => {
  const { logins, asked, proven, pass } = stage();
  const short = proven('short');
  logins.answered(asked[0] ?? 0, { ...ALICE, expiresAtMs: 5_000 });
  await short;
  pass(4_999);
  expect(logins.find('localhost', 'short')).not.toBeNull();
  pass(1);
  expect(logins.find('localhost', 'short')).toBeNull();
  const bad = proven('bad');
  logins.answered(asked[1] ?? 0, { kind: 'refused', reason: 'No.' });
  await bad;
  pass(10_000);
  expect(logins.find('localhost', 'bad')).toBeNull();
});

it('reports unknown when control is away, there are too many questions, or a token is too long; late results are ignored', async () => {
  const away = stage(false);
  await away.proven('one');
  expect(away.logins.find('localhost', 'one')).toEqual({ kind: 'unavailable' });
  away.logins.answered(1, ALICE);
  expect(away.logins.find('localhost', 'one')).toEqual({ kind: 'unavailable' });
  const { logins, asked, proven } = stage();
  const open = Array.from({ length: 256 }, (_, at) => proven(`token ${at}`));
  await proven('one too many');
  expect([asked.length, logins.find('localhost', 'one too many')]).toEqual([256, { kind: 'unavailable' }]);
  for (const id of asked) logins.answered(id, ALICE);
  await Promise.all(open);
  await proven('x'.repeat(20_000));
  expect(asked).toHaveLength(256);
});

it('caches a limited number of tokens, the newest', async () => {
  const { logins, asked, proven } = stage();
  for (let at = 0; at < 10_050; at++) {
    const done = proven(`token ${at}`);
    logins.answered(asked.at(-1) ?? 0, ALICE);
    await done;
  }
  expect([logins.find('localhost', 'token 49'), logins.find('localhost', 'token 50')]).toEqual([null, ALICE]);
});
