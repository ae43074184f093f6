import { expect, test } from 'vitest';
import { askBudget, budgetLeft, type BudgetLimits, type Spending, type Spent } from '../../../certs/plan/budget.ts';
import { registeredDomain } from '../../../certs/plan/registered-domain.ts';

const DAY_MS = 24 * 60 * 60_000;
const LIMITS: BudgetLimits = { perDomain: 50, perTenant: 30, perUser: 10 };
const ALICE: Spending = { domain: 'example.org', tenant: 'dev', user: 'alice' };

/** Asks for as many as come, one a minute, and answers how many were granted. */
function spendAll(wanted: readonly Spending[], spent: Spent[] = [], fromMs = 0): Spent[] {
  let nowMs = fromMs;
  for (const one of wanted) {
    nowMs += 60_000;
    if (askBudget(spent, one, LIMITS, nowMs).kind === 'granted') {
      spent.push({ ...one, key: `${spent.length}`, atMs: nowMs });
    }
  }
  return spent;
}

test("one user's fifty pods get ten certificates, and leave the rest to others", () => {
  const spent = spendAll(Array.from({ length: 50 }, () => ALICE));
  expect(spent).toHaveLength(10);
  expect(askBudget(spent, ALICE, LIMITS, 4_000_000)).toMatchObject({ kind: 'exhausted', whose: 'user' });
  expect(askBudget(spent, { ...ALICE, user: 'bob' }, LIMITS, 4_000_000)).toEqual({ kind: 'granted' });
});

test('many users of one tenant get what is the tenant’s', () => {
  const spent = spendAll(Array.from({ length: 200 }, (_, at) => ({ ...ALICE, user: `user${at % 20}` })));
  expect(spent).toHaveLength(30);
  expect(askBudget(spent, { ...ALICE, user: 'new' }, LIMITS, 0)).toMatchObject({ whose: 'tenant' });
  expect(askBudget(spent, { ...ALICE, tenant: 'other' }, LIMITS, 0)).toEqual({ kind: 'granted' });
});

test('users leave a tenth of the domain to base hosts and wildcards, which never get more than all of it', () => {
  const users = Array.from({ length: 300 }, (_, at) => ({ ...ALICE, tenant: `t${at % 3}`, user: `user${at % 60}` }));
  const spent = spendAll(users);
  expect(spent).toHaveLength(45);
  const own = { domain: 'example.org', tenant: 'dev', user: null };
  expect(
    spendAll(
      Array.from({ length: 20 }, () => own),
      spent,
      2 * DAY_MS,
    ),
  ).toHaveLength(50);
  expect(askBudget(spent, own, LIMITS, 3 * DAY_MS)).toMatchObject({ kind: 'exhausted', whose: 'domain' });
});

test('in no seven days of two busy years are there more than fifty', () => {
  const spent: Spent[] = [];
  const kept: Spent[] = [];
  for (let hour = 0; hour < 2 * 365 * 24; hour++) {
    const atMs = hour * 3_600_000;
    for (const user of [`user${hour % 97}`, null]) {
      const one = { domain: 'example.org', tenant: `t${hour % 4}`, user };
      if (askBudget(kept, one, LIMITS, atMs).kind !== 'granted') continue;
      kept.push({ ...one, key: '', atMs });
      spent.push({ ...one, key: '', atMs });
      while (kept.length > 60) kept.shift();
    }
  }
  const times = spent.map(({ atMs }) => atMs);
  for (let at = 50; at < times.length; at++) {
    expect((times[at] ?? 0) - (times[at - 50] ?? 0)).toBeGreaterThanOrEqual(7 * DAY_MS);
  }
  expect(spent.length).toBeGreaterThan(50 * 100);
});

test('a refusal says when the budget is available again', () => {
  const spent = spendAll(Array.from({ length: 10 }, () => ALICE));
  const answer = askBudget(spent, ALICE, LIMITS, DAY_MS);
  expect(answer).toEqual({ kind: 'exhausted', whose: 'user', untilMs: 60_000 + 7 * DAY_MS });
  expect(askBudget(spent, ALICE, LIMITS, 60_000 + 7 * DAY_MS)).toEqual({ kind: 'granted' });
});

test('a clock that was set back frees nothing at once, and blocks nothing for ever', () => {
  const spent = spendAll(
    Array.from({ length: 10 }, () => ALICE),
    [],
    400 * DAY_MS,
  );
  expect(askBudget(spent, ALICE, LIMITS, 0)).toMatchObject({ kind: 'exhausted', untilMs: 7 * DAY_MS });
});

test('each domain has its own budget, and the remainder is reported', () => {
  const spent = spendAll([ALICE, { ...ALICE, domain: 'example.net' }, ALICE]);
  expect(budgetLeft(spent, ['example.com'], LIMITS, DAY_MS)).toEqual([
    { domain: 'example.com', limit: 50, used: 0, left: 50 },
    { domain: 'example.net', limit: 50, used: 1, left: 49 },
    { domain: 'example.org', limit: 50, used: 2, left: 48 },
  ]);
});

test.each([
  ['mypg.pods.example.org', 'example.org'],
  ['*.pods.example.co.uk', 'example.co.uk'],
  ['mypg.pods.someone.github.io', 'someone.github.io'],
  ['mypg.pods.localhost', 'pods.localhost'],
  ['localhost', 'localhost'],
])('the registered domain of %s is %s', (host, domain) => {
  expect(registeredDomain(host)).toBe(domain);
});
