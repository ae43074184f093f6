/** What the control process last said of itself. */
export interface ControlReport {
  readonly ok: boolean;
  /** Public: contains no secret and no address. */
  readonly detail: Readonly<Record<string, unknown>>;
}

export interface GatewayAcceptance {
  /** On how many sets of listening sockets a child accepts, of how many; 0 without the role gateway. */
  readonly accepting: number;
  readonly slots: number;
  readonly isDraining: boolean;
}

/** What the supervisor tells the process that answers probes, at every change and every second. */
export interface ProbeState {
  readonly gateway: GatewayAcceptance;
  /** Null before the first one. */
  readonly control: ControlReport | null;
  /** How old it was when this was sent. */
  readonly controlAgeMs: number;
}

export interface ProbeAnswer {
  readonly ok: boolean;
  readonly message: string;
  readonly detail: Readonly<Record<string, unknown>> | null;
}

/** A report of the control process counts for so long: its event loop may be busy, or it may be on its way to come back. */
const REPORT_FRESH_MS = 15_000;
/** The supervisor does nothing that takes time. */
const SUPERVISOR_FRESH_MS = 10_000;

function gatewayText({ accepting, slots, isDraining }: GatewayAcceptance, hasGateway: boolean): string {
  if (isDraining) return 'shutting down: draining open sessions';
  return hasGateway ? `${accepting} of ${slots} accept` : 'none: see PODGATE_ROLES';
}

/** `/readyz`. Pure: `ageMs` is the age of the state, null that not yet issued. */
export function judgeReadiness(state: ProbeState | null, ageMs: number): ProbeAnswer {
  const unready = (detail: Readonly<Record<string, unknown>>): ProbeAnswer => ({
    ok: false,
    message: 'Not ready.',
    detail,
  });
  if (state === null) return unready({ control: 'starting' });
  if (ageMs > SUPERVISOR_FRESH_MS) return unready({ supervisor: `no report for ${seconds(ageMs)}` });
  const { control, gateway } = state;
  const hasGateway = gateway.slots > 0;
  const parts = { gateway: gatewayText(gateway, hasGateway) };
  if (control === null) return unready({ ...parts, control: 'starting' });
  const reportAgeMs = state.controlAgeMs + ageMs;
  if (reportAgeMs > REPORT_FRESH_MS) {
    return unready({ ...control.detail, ...parts, control: `no report for ${seconds(reportAgeMs)}` });
  }
  const ok = control.ok && !gateway.isDraining && gateway.accepting === gateway.slots;
  return { ok, message: ok ? 'Ready.' : 'Not ready.', detail: { ...control.detail, ...parts } };
}

/** `/healthz`: whatever a new start of everything could mend. The supervisor mends the rest process by process. */
export function judgeLiveness(ageMs: number): ProbeAnswer {
  return ageMs > SUPERVISOR_FRESH_MS
    ? { ok: false, message: 'The supervisor does not respond.', detail: null }
    : { ok: true, message: 'Alive.', detail: null };
}

function seconds(ms: number): string {
  return `${Math.round(ms / 1_000)} s`;
}
