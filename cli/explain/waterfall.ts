/** How long the steps of a connection took, in order; null: not reached, or not needed. */
export interface Steps {
  readonly tcp_ms?: number | null;
  readonly tls_ms: number | null;
  readonly route_ms: number | null;
  readonly dial_ms: number | null;
  readonly first_byte_ms: number | null;
}

const STEPS = [
  ['tcp_ms', 'TCP'],
  ['tls_ms', 'TLS'],
  ['route_ms', 'route'],
  ['dial_ms', 'dial'],
  ['first_byte_ms', 'first byte'],
] as const;
const WIDTH = 30;

/** A line for each step that was measured: its name, a bar behind those of the steps before, and its time. Pure. */
export function waterfallText(steps: Steps): string {
  const taken = STEPS.flatMap(([key, name]) => {
    const ms = steps[key] ?? null;
    return ms === null ? [] : [{ name, ms }];
  });
  const totalMs = taken.reduce((sum, { ms }) => sum + ms, 0);
  const columns = (ms: number): number => (totalMs === 0 ? 0 : Math.round((ms / totalMs) * WIDTH));
  let beforeMs = 0;
  return taken
    .map(({ name, ms }) => {
      const start = Math.min(columns(beforeMs), WIDTH - 1);
      const bar = '#'.repeat(Math.max(1, Math.min(columns(ms), WIDTH - start)));
      beforeMs += ms;
      return `  ${name.padEnd(10)}  ${`${' '.repeat(start)}${bar}`.padEnd(WIDTH)}  ${ms.toFixed(1).padStart(8)} ms\n`;
    })
    .join('');
}
