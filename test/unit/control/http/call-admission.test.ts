import { expect, test } from 'vitest';

import { type AdmittedCall, CallAdmission } from '../../../../control/http/limits/call-admission.ts';
import { PodgateError } from '../../../../core/errors.ts';

const LIMITS = {
  ...{ calls: 6, callsPerTenant: 4, callsPerUser: 2, callsPerAddress: 3 },
  ...{ bytes: 600, bytesPerTenant: 400, bytesPerUser: 200 },
};

function codeOf(work: () => unknown): string {
  try {
    work();
    return 'accepted';
  } catch (error) {
    return error instanceof PodgateError ? error.code : String(error);
  }
}

function enterAs(admission: CallAdmission, username: string, tenant = 'default', address = username): AdmittedCall {
  const call = admission.enter(address);
  call.identify({ tenant, username });
  return call;
}

test('an address gets its number of calls and no more; IPv6 addresses share that of their /64', () => {
  const admission = new CallAdmission(LIMITS);
  const calls = ['2001:db8::1', '2001:db8::2', '2001:db8::3'].map((address) => admission.enter(address));
  expect(codeOf(() => admission.enter('2001:db8::4'))).toBe('api.too-many-requests');
  expect(codeOf(() => admission.enter('2001:db8:0:1::4'))).toBe('accepted');
  calls[0]?.leave();
  calls[0]?.leave();
  expect(codeOf(() => admission.enter('2001:db8::4'))).toBe('accepted');
  expect(codeOf(() => admission.enter('2001:db8::5'))).toBe('api.too-many-requests');
  expect(admission.refused()).toMatchObject({ address: 2, calls: 0 });
});

test('users, tenants and the total have their number of calls; each refusal says whose limit it is', () => {
  const admission = new CallAdmission(LIMITS);
  enterAs(admission, 'alice');
  const second = enterAs(admission, 'alice');
  const third = admission.enter('alice');
  expect(codeOf(() => third.identify({ tenant: 'default', username: 'alice' }))).toBe('api.too-many-requests');
  third.leave();
  enterAs(admission, 'bob');
  enterAs(admission, 'bob');
  expect(codeOf(() => enterAs(admission, 'carol', 'default', 'c'))).toBe('api.too-many-requests');
  expect(codeOf(() => enterAs(admission, 'alice', 'other', 'd'))).toBe('accepted');
  expect(codeOf(() => admission.enter('e'))).toBe('api.overloaded');
  second.leave();
  expect(codeOf(() => admission.enter('e'))).toBe('accepted');
  expect(admission.refused()).toMatchObject({ user: 1, tenant: 1, calls: 1 });
});

test('bytes are counted for the user, the tenant and in total, and given back once', () => {
  const admission = new CallAdmission(LIMITS);
  const alice = enterAs(admission, 'alice');
  alice.reserve(150);
  const other = enterAs(admission, 'alice', 'default', 'x');
  expect(codeOf(() => other.reserve(51))).toBe('api.too-many-requests');
  alice.reserve(100);
  other.reserve(100);
  expect(codeOf(() => alice.reserve(101))).toBe('api.too-many-requests');
  enterAs(admission, 'bob').reserve(200);
  expect(codeOf(() => enterAs(admission, 'carol').reserve(1))).toBe('api.too-many-requests');
  const foreign = enterAs(admission, 'dora', 'other');
  foreign.reserve(200);
  expect(admission.bytes).toBe(600);
  expect(codeOf(() => foreign.reserve(201))).toBe('api.too-many-requests');
  foreign.hold(500);
  expect(admission.bytes).toBe(900);
  foreign.leave();
  foreign.hold(500);
  other.leave();
  alice.leave();
  expect(admission.bytes).toBe(200);
});

test('bytes beyond the total are an overload, and no single user’s fault', () => {
  const admission = new CallAdmission({ ...LIMITS, bytes: 250 });
  enterAs(admission, 'alice').reserve(200);
  expect(codeOf(() => enterAs(admission, 'bob', 'other').reserve(51))).toBe('api.overloaded');
});

test('10,000 addresses and users leave nothing behind', () => {
  const admission = new CallAdmission(LIMITS);
  for (let index = 0; index < 10_000; index += 1) enterAs(admission, `user${index}`).leave();
  expect([admission.calls, admission.bytes]).toEqual([0, 0]);
  expect(JSON.stringify(admission, (_, value: unknown) => (value instanceof Map ? value.size : value))).not.toMatch(
    /\d{4}/,
  );
});
