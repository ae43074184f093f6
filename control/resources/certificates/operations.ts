import { z } from 'zod';

import type { CertificateAdmin, CertificateReport, CertificateStatus } from '../../../core/certificate-admin.ts';
import { PodgateError } from '../../../core/errors.ts';
import { jsonList } from '../../http/json-pieces.ts';
import type { Operation } from '../../http/operation.ts';

const time = z.iso.datetime().nullable();

const CertificateAnswer = z.object({
  names: z.array(z.string()),
  source: z.string().describe('files, imported, wildcard, per-host or development: the best one is served.'),
  user: z.string().nullable().describe('Whose pod it is for; null: the installation itself needs it.'),
  issuer: z.string().nullable(),
  serial: z.string().nullable(),
  not_before: time,
  not_after: time.describe('null: not yet issued, and the best other one is served.'),
  next_renewal: time,
  lapse: z.enum(['no', 'soon', 'expired']).describe('soon: renewal was due long ago.'),
  ordering: z.boolean(),
  failures: z.int().describe('In a row.'),
  last_error: z.object({ time: z.iso.datetime(), message: z.string() }).nullable(),
  not_tried_before: time,
  key_readable: z.boolean().describe('false: the keyring does not open its private key.'),
});

const AccountAnswer = z.object({
  directory_url: z.string(),
  url: z.string().nullable(),
  last_error: z.object({ time: z.iso.datetime(), message: z.string() }).nullable(),
  paused_until: time,
});

export const CertificatesAnswer = z.object({
  certificates: z.array(CertificateAnswer),
  budgets: z
    .array(z.object({ domain: z.string(), limit: z.int(), used: z.int(), left: z.int() }))
    .describe('New certificates of the last seven days, by registered domain.'),
  accounts: z.array(AccountAnswer),
});

/** For administrators: those of their tenant, and of the installation. */
export function certificatesOperation(certificates: Pick<CertificateAdmin, 'report'>): Operation {
  return {
    operationId: 'list_certificates',
    methods: ['get'],
    path: '/pods/certificates',
    tag: 'Certificates',
    summary:
      'The certificates that are served or wanted: issuer, expiry, next renewal, last error, budget left. ADMIN.',
    result: CertificatesAnswer,
    access: 'token',
    handle: async ({ caller }) => {
      if (!caller.isAdministrator) {
        throw new PodgateError('api.forbidden', {
          publicMessages: ['Certificates are shown to administrators of the tenant only.'],
        });
      }
      return {
        kind: 'json-pieces',
        message: 'Certificates retrieved successfully.',
        pieces: piecesOf(certificates.report(), caller.tenant),
      };
    },
  };
}

/** There are as many as names of pods. */
async function* piecesOf({ certificates, budgets, accounts }: CertificateReport, of: string): AsyncGenerator<string> {
  const shown = certificates.filter(({ tenant }) => tenant === null || tenant === of);
  yield '{"certificates":';
  yield* jsonList(each(shown, certificateOf));
  yield ',"budgets":';
  yield* jsonList(budgets);
  yield ',"accounts":';
  yield* jsonList(each(accounts, accountOf));
  yield '}';
}

function* each<Item, Answer>(items: readonly Item[], answerOf: (item: Item) => Answer): Generator<Answer> {
  for (const item of items) yield answerOf(item);
}

function accountOf({ directoryUrl, url, lastError, pausedUntilMs }: CertificateReport['accounts'][number]) {
  return {
    directory_url: directoryUrl,
    url,
    last_error: errorOf(lastError),
    paused_until: timeOf(pausedUntilMs),
  } satisfies z.output<typeof AccountAnswer>;
}

function certificateOf({ names, source, user, held, ...rest }: CertificateStatus): z.output<typeof CertificateAnswer> {
  return {
    ...{ names: [...names], source, user, issuer: held?.issuer ?? null, serial: held?.serial ?? null },
    not_before: timeOf(held?.notBeforeMs ?? null),
    not_after: timeOf(held?.notAfterMs ?? null),
    next_renewal: timeOf(rest.nextRenewalMs),
    lapse: rest.lapse,
    ordering: rest.isOrdering,
    failures: rest.failures,
    last_error: errorOf(rest.lastError),
    not_tried_before: timeOf(rest.notBeforeMs),
    key_readable: rest.isKeyOpen,
  };
}

function errorOf(error: CertificateStatus['lastError']) {
  return error === null ? null : { time: new Date(error.atMs).toISOString(), message: error.message };
}

function timeOf(ms: number | null): string | null {
  return ms === null ? null : new Date(ms).toISOString();
}
