import { fail, type Finding, ok, warn } from '../../../../core/finding.ts';

const WARN_MS = 5_000;
const FAIL_MS = 60_000;

/** How far this clock and another are apart, in ms. Pure. */
export function judgeClock(whose: string, apartMs: number): Finding {
  const subject = 'clock';
  const apart = `This clock and ${whose} differ by ${(apartMs / 1_000).toFixed(0)} s.`;
  const remedy = 'Synchronize the clocks of the nodes (NTP): stop times and tokens depend on them.';
  if (apartMs > FAIL_MS) return fail(subject, apart, remedy);
  return apartMs > WARN_MS ? warn(subject, apart, remedy) : ok(subject, apart);
}
