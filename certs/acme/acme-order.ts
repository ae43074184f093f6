import acme from 'acme-client';
import { isAborted, pause } from '../../core/abort.ts';
import { backoffMs } from '../../core/backoff.ts';
import { AcmeError, readProblem } from './acme-error.ts';
import type { AcmeSession } from './acme-session.ts';
import { type IssuedCertificate, readIssued } from './issued-certificate.ts';

export type ChallengeType = 'http-01' | 'tls-alpn-01' | 'dns-01';

/** What proves that a name is ours. For dns-01 `value` is the text of the TXT record, else the key authorization. */
export interface ChallengeAnswer {
  readonly type: ChallengeType;
  /** Without `*.`. */
  readonly host: string;
  readonly token: string;
  readonly value: string;
}

/** Where answers are put for the ACME server to find. */
export interface ChallengeAnswers {
  /** Resolves when every replica serves it. */
  present(answers: readonly ChallengeAnswer[], signal: AbortSignal): Promise<void>;
  withdraw(answers: readonly ChallengeAnswer[], signal: AbortSignal): Promise<void>;
}

export interface OrderOptions {
  readonly session: AcmeSession;
  readonly answers: ChallengeAnswers;
  readonly names: readonly string[];
  /** In the order of preference; the first that the server offers is taken. */
  readonly challenges: readonly ChallengeType[];
  /** PKCS #8 in PEM: the key the certificate will be for. */
  readonly privateKey: string;
  /** An order that was begun before; null = a new one. */
  readonly url: string | null;
  /** Keeps the URL of a new order, before anything else is done with it. */
  readonly begun: (url: string) => Promise<void>;
  /** The renewal id of the certificate that this one takes the place of (RFC 9773 5). */
  readonly replaces: string | null;
  /** Common name of the root or intermediate that the chain shall lead to. */
  readonly preferredChain: string | null;
}

const POLL_BACKOFF = { firstMs: 200, maxMs: 5_000, factor: 1.5 };
const WITHDRAW_MS = 30_000;

/**
 * Completes an order from its present state: each step reads the state at the server and does what is next, so that an order
 * whose process was killed continues from there. Throws AcmeError, or the signal's reason.
 */
export async function carryOutOrder(options: OrderOptions, signal: AbortSignal): Promise<IssuedCertificate> {
  let order = options.url === null ? await beginOrder(options, signal) : await readOrder(options, options.url, signal);
  if (order.status === 'pending') {
    await answerChallenges(options, order, signal);
    order = await untilOrderIs(options, order, (status) => status !== 'pending', signal);
  }
  if (order.status === 'ready') {
    const [, csr] = await acme.crypto.createCsr({ altNames: [...options.names] }, options.privateKey);
    order = await options.session.step('finalizing the order', (client) => client.finalizeOrder(order, csr), signal);
  }
  const done = await untilOrderIs(options, order, (status) => status === 'valid', signal);
  const { preferredChain } = options;
  const pem = await options.session.step(
    'downloading the certificate',
    (client) => (preferredChain === null ? client.getCertificate(done) : client.getCertificate(done, preferredChain)),
    signal,
  );
  try {
    return readIssued(pem, options.privateKey, options.names);
  } catch (error) {
    throw new AcmeError('refused', `the ACME server returned a certificate that does not match the order`, {
      cause: error,
    });
  }
}

async function beginOrder(options: OrderOptions, signal: AbortSignal): Promise<acme.Order> {
  const { session, names, replaces } = options;
  const create = (extra: object): Promise<acme.Order> =>
    session.step(
      'ordering',
      (client) => client.createOrder({ identifiers: names.map((value) => ({ type: 'dns', value })), ...extra }),
      signal,
    );
  let order: acme.Order;
  try {
    order = await create(replaces === null ? {} : { replaces });
  } catch (error) {
    // It has been replaced already, or the server does not know it: nothing that would forbid a new one.
    const isAboutReplacing = error instanceof AcmeError && replaces !== null && error.fault === 'refused';
    if (!isAboutReplacing) throw error;
    order = await create({});
  }
  await options.begun(order.url);
  return order;
}

/** Only the URL is known of an order that was begun before. */
function readOrder({ session }: OrderOptions, url: string, signal: AbortSignal): Promise<acme.Order> {
  const known = { url } as acme.Order;
  return session.step('polling the order', (client) => client.getOrder(known), signal);
}

async function untilOrderIs(
  options: OrderOptions,
  order: acme.Order,
  isEnough: (status: acme.Order['status']) => boolean,
  signal: AbortSignal,
): Promise<acme.Order> {
  let now = order;
  for (let polls = 1; ; polls++) {
    if (now.status === 'invalid') throw await errorOfOrder(options, now, signal);
    if (isEnough(now.status)) return now;
    await pause(backoffMs(polls, POLL_BACKOFF), signal);
    signal.throwIfAborted();
    now = await readOrder(options, order.url, signal);
  }
}

async function errorOfOrder(options: OrderOptions, order: acme.Order, signal: AbortSignal): Promise<AcmeError> {
  const authorizations = await options.session
    .step('fetching the authorizations', (client) => client.getAuthorizations(order), signal)
    .catch(() => []);
  const reasons = authorizations.flatMap((authorization) => reasonOf(authorization) ?? []);
  const { problem, detail } = readProblem(order.error);
  const all = [...(detail === null ? [] : [detail]), ...reasons].join('; ');
  return new AcmeError('refused', `the order has failed: ${all === '' ? 'no reason was given' : all}`, { problem });
}

function reasonOf(authorization: acme.Authorization): string | null {
  if (authorization.status !== 'invalid') return null;
  const failed = authorization.challenges.find(({ error }) => error !== undefined);
  const { problem, detail } = readProblem(failed?.error);
  return `${authorization.identifier.value}: ${detail ?? 'no reason was given'} (${failed?.type ?? 'challenge'}, ${problem ?? 'unknown'})`;
}

interface ChosenChallenge {
  readonly challenge: acme.Authorization['challenges'][number];
  readonly answer: ChallengeAnswer;
}

async function answerChallenges(options: OrderOptions, order: acme.Order, signal: AbortSignal): Promise<void> {
  const { session, answers } = options;
  const authorizations = await session.step(
    'reading the challenges',
    (client) => client.getAuthorizations(order),
    signal,
  );
  const chosen: ChosenChallenge[] = [];
  for (const authorization of authorizations) {
    if (authorization.status === 'pending') chosen.push(await choose(options, authorization, signal));
  }
  if (chosen.length === 0) return;
  const presented = chosen.map(({ answer }) => answer);
  try {
    await answers.present(presented, signal);
    signal.throwIfAborted();
    for (const { challenge } of chosen) {
      // Of an order that was begun before it may be under way already.
      if (challenge.status !== 'pending') continue;
      await session.step('requesting validation', (client) => client.completeChallenge(challenge), signal);
    }
    await untilValidated(options, order, signal);
  } finally {
    // Also when all is to end: what is left behind would answer for ever.
    const withdrawing = AbortSignal.timeout(WITHDRAW_MS);
    await answers.withdraw(presented, withdrawing).catch((error: unknown) => {
      if (!isAborted(signal)) throw error;
    });
  }
}

async function choose(
  options: OrderOptions,
  authorization: acme.Authorization,
  signal: AbortSignal,
): Promise<ChosenChallenge> {
  const offered = authorization.challenges;
  // The library's types know no tls-alpn-01, its code does.
  const types: readonly string[] = options.challenges;
  const host = authorization.identifier.value;
  const challenge = types.flatMap((type) => offered.find((one) => (one.type as string) === type) ?? [])[0];
  if (challenge === undefined) {
    throw new AcmeError(
      'refused',
      `${host}: the ACME server offers ${offered.map(({ type }) => type).join(', ')}, and none of these is configured`,
    );
  }
  const value = await options.session.step(
    'responding to a challenge',
    (client) => client.getChallengeKeyAuthorization(challenge),
    signal,
  );
  const type = challenge.type as ChallengeType;
  return { challenge, answer: { type, host, token: challenge.token, value } };
}

async function untilValidated(options: OrderOptions, order: acme.Order, signal: AbortSignal): Promise<void> {
  for (let polls = 1; ; polls++) {
    const authorizations = await options.session.step(
      'waiting for validation',
      (client) => client.getAuthorizations(order),
      signal,
    );
    if (authorizations.every(({ status }) => status !== 'pending')) return;
    await pause(backoffMs(polls, POLL_BACKOFF), signal);
    signal.throwIfAborted();
  }
}
