import { expect, it } from 'vitest';
import type { LoginAnswer } from '../../../core/feed-protocol.ts';
import { type TokenCheckLimit, TokenLogins } from '../../../proxy/policy/token-logins.ts';

const ALICE: LoginAnswer = { kind: 'user', user: 'alice', expiresAtMs: 1_000_000 };

function stage(isReachable = true) {
  let nowMs = 0;
  const asked: number[] = [];
  const limited: TokenCheckLimit[] = [];
  const logins = new TokenLogins({
    ask: (id) => isReachable && asked.push(id) > 0,
    limited: (limit) => limited.push(limit),
    clock: { now: () => nowMs, monotonicMs: () => nowMs },
  });
  const proven = (token: string, address = '192.0.2.1') =>
    new Promise<void>((done) => logins.ask('localhost', token, address, done));
  return { logins, asked, limited, proven, pass: (ms: number) => (nowMs += ms) };
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
  const { logins, asked, limited, proven } = stage();
  const open = Array.from({ length: 256 }, (_, at) => proven(`token ${at}`, `192.0.2.${at}`));
  await proven('one too many', '198.51.100.1');
  expect([asked.length, logins.find('localhost', 'one too many')]).toEqual([256, null]);
  for (const id of asked) logins.answered(id, ALICE);
  await Promise.all(open);
  await proven('x'.repeat(20_000));
  expect(asked).toHaveLength(256);
  expect(limited).toEqual(['token-checks']);
});

it.each([
  ['an IPv4 address', () => '192.0.2.1', '192.0.2.2'],
  ['the /64 of an IPv6 address', (at: number) => `2001:db8:0:1::${at.toString(16)}`, '2001:db8:0:2::1'],
])('lets %s hold a quarter of the open questions, and still serves others', async (_, addressOf, other) => {
  const { logins, asked, limited, proven } = stage();
  const open = Array.from({ length: 64 }, (__, at) => proven(`made up ${at}`, addressOf(at)));
  // They take no room, not even for a moment.
  const beyond = Array.from({ length: 400 }, (__, at) => proven(`beyond ${at}`, addressOf(at)));
  const shared = proven('beyond 0', other);
  const honest = proven('honest', other);
  expect(asked).toHaveLength(66);
  await Promise.all(beyond);
  expect(logins.find('localhost', 'beyond 1')).toBeNull();
  expect(limited).toEqual(Array.from({ length: 400 }, () => 'token-checks-address'));
  for (const id of asked.splice(0)) logins.answered(id, ALICE);
  await Promise.all([...open, shared, honest]);
  expect(['beyond 0', 'honest'].map((token) => logins.find('localhost', token))).toEqual([ALICE, ALICE]);
  const next = proven('next', addressOf(0));
  expect(asked).toHaveLength(1);
  logins.answered(asked[0] ?? 0, ALICE);
  await next;
});

it('caches refusals apart from users, so that made-up tokens evict no valid login', async () => {
  const { logins, asked, proven } = stage();
  const refused: LoginAnswer = { kind: 'refused', reason: 'No.' };
  const valid = proven('valid');
  logins.answered(asked[0] ?? 0, ALICE);
  await valid;
  for (let at = 0; at < 10_050; at++) {
    const done = proven(`made up ${at}`);
    logins.answered(asked.at(-1) ?? 0, at % 2 === 0 ? refused : { kind: 'unavailable' });
    await done;
  }
  expect(logins.find('localhost', 'valid')).toEqual(ALICE);
  expect([48, 50].map((at) => logins.find('localhost', `made up ${at}`))).toEqual([null, refused]);
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
