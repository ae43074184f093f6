import type { CertificateAdmin, CertificateStatus } from '../../core/certificate-admin.ts';
import type { Clock } from '../../core/clock.ts';
import type { MetricFamily } from '../../core/metrics.ts';

const SOURCES = ['files', 'imported', 'wildcard', 'per-host', 'development'] as const;

/** What the certificates are like, from memory. By source, not by name: names are as many as pods. */
export function certificateMetrics(parts: {
  readonly certificates: Pick<CertificateAdmin, 'report'>;
  readonly clock: Clock;
}): readonly MetricFamily[] {
  const { certificates, budgets, accounts, counts } = parts.certificates.report();
  const bySource = SOURCES.map((source) => ({ source, all: certificates.filter((one) => one.source === source) }));
  const withOne = bySource.map(({ source, all }) => ({
    source,
    ends: all.flatMap(({ held }) => held?.notAfterMs ?? []),
  }));
  const lapsing = (lapse: CertificateStatus['lapse']): number =>
    certificates.filter((one) => one.lapse === lapse).length;
  const pausedUntilMs = Math.max(0, ...accounts.map((account) => account.pausedUntilMs ?? 0));
  return [
    {
      ...{ name: 'podgate_certificates', kind: 'gauge', help: 'Certificates that there are, by source.' },
      samples: withOne.map(({ source, ends }) => ({ labels: { source }, value: ends.length })),
    },
    {
      name: 'podgate_certificate_seconds_to_expiry',
      kind: 'gauge',
      help: 'Until the end of the one that ends first, by source.',
      samples: withOne
        .filter(({ ends }) => ends.length > 0)
        .map(({ source, ends }) => ({
          labels: { source },
          value: Math.round((ends.reduce((a, b) => Math.min(a, b)) - parts.clock.now()) / 1_000),
        })),
    },
    {
      name: 'podgate_certificates_lapsing',
      kind: 'gauge',
      help: 'Certificates whose renewal is long overdue (soon), or that have expired.',
      samples: (['soon', 'expired'] as const).map((lapse) => ({ labels: { lapse }, value: lapsing(lapse) })),
    },
    {
      ...{ name: 'podgate_certificates_failing', kind: 'gauge', help: 'Certificates whose last order failed.' },
      samples: [{ labels: {}, value: certificates.filter(({ lastError }) => lastError !== null).length }],
    },
    {
      name: 'podgate_certificate_orders_total',
      kind: 'counter',
      help: 'Orders that this replica has carried to their end.',
      samples: [
        { labels: { outcome: 'issued' }, value: counts.issued },
        { labels: { outcome: 'failed' }, value: counts.failed },
      ],
    },
    {
      name: 'podgate_certificate_budget_left',
      kind: 'gauge',
      help: 'New certificates that may still be ordered this week, of the registered domain that has the fewest left.',
      samples: budgets.length === 0 ? [] : [{ labels: {}, value: Math.min(...budgets.map(({ left }) => left)) }],
    },
    {
      name: 'podgate_acme_paused_seconds',
      kind: 'gauge',
      help: 'Until the ACME server is used again, after it failed; 0: it is used.',
      samples: [{ labels: {}, value: Math.max(0, Math.round((pausedUntilMs - parts.clock.now()) / 1_000)) }],
    },
  ];
}
