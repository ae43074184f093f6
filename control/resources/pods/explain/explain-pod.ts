import { pause } from '../../../../core/abort.ts';
import { PodgateError } from '../../../../core/errors.ts';
import type { Finding } from '../../../../core/finding.ts';
import type { PodConnectionsReport } from '../../../../core/pod-connections-reader.ts';
import type { SeenConnection } from '../../../../core/pod-connections.ts';
import { podHost } from '../../../../core/ids.ts';
import type { PodRecord, Stanza } from '../../../../core/pod.ts';
import { routedStanzas } from '../../../../core/route.ts';
import type { Caller } from '../../../auth/authenticator.ts';
import { Places } from '../../../http/limits/places.ts';
import { RatePerKey } from '../../../http/limits/rate-per-address.ts';
import { readPod } from '../pod-objects.ts';
import type { PodParts } from '../pod-parts.ts';
import type { PublicPlace } from '../response.ts';
import { type Attempt, type FrontDoor, makeAttempt } from './attempt.ts';
import { type Evidence, findingsOf } from './findings.ts';
import { lookUp } from './look-up.ts';
import { spokenBy } from './spoken.ts';

const ROUTABLE_MS = 1_500;
/** Each is a connection to the pod; the others are shown without. */
const ATTEMPTS_MAX = 8;
/** The end of an attempt is recorded a moment after it. */
const RECORD_MS = 100;
/** What one user can cause this way, at the gateway and at pods. */
const RATE = { perMinute: 20, burst: 10 };
const PLACES = { all: 16, perTenant: 8, perUser: 2 };

export interface ExplainRequest {
  readonly podId: string;
  /** Null: all that the gateway serves. */
  readonly stanza: string | null;
  readonly address: string | null;
  readonly place: PublicPlace;
  readonly signal: AbortSignal;
}

/** One way to a pod, explained. */
export interface ExplainedStanza extends Evidence {
  readonly name: string;
  readonly findings: readonly Finding[];
  /** What the gateway has seen of the attempt. */
  readonly seen: SeenConnection | null;
}

export interface Explained {
  readonly record: PodRecord;
  readonly stanzas: readonly ExplainedStanza[];
  /** Workers and replicas that have not told what they have seen. */
  readonly missing: readonly string[];
}

export type ExplainParts = PodParts & { readonly frontDoor?: FrontDoor | null };

/** Finds out why a pod can, or cannot, be reached: by what is known, and by trying it. */
export class PodExplainer {
  readonly #parts: ExplainParts;
  readonly #rate = new RatePerKey(RATE);
  readonly #places = new Places({
    limits: PLACES,
    what: 'explanations running',
    remedy: 'Wait until one of them ends.',
    full: 'Too many explanations are running.',
  });

  constructor(parts: ExplainParts) {
    this.#parts = parts;
  }

  /**
   * USER. Throws as PodService does, and 'api.invalid' for a stanza that the gateway does not serve. Takes a few seconds at
   * most.
   */
  async explain(caller: Caller, request: ExplainRequest): Promise<Explained> {
    const { value: record } = await readPod(this.#parts, caller, request.podId, 'USER', 'Explaining connections');
    const chosen = chooseStanzas(record, request);
    if (!this.#rate.take(`${caller.tenant}/${caller.username}`, this.#parts.clock.monotonicMs())) {
      throw new PodgateError('api.too-many-requests', {
        publicMessages: [`You may ask ${RATE.perMinute} times a minute. Try again in a moment.`],
      });
    }
    const leave = this.#places.enter(caller);
    try {
      return await this.#explain(record, chosen, request);
    } finally {
      leave();
    }
  }

  async #explain(record: PodRecord, chosen: readonly ChosenStanza[], request: ExplainRequest): Promise<Explained> {
    const { feed, connections, clock, frontDoor = null } = this.#parts;
    const { address, place, signal } = request;
    const isRunning = record.status === 'RUNNING' && record.wish === 'ON';
    const [routable, lookups, attempts] = await Promise.all([
      isRunning ? feed.waitRoutable(record, ROUTABLE_MS, signal) : null,
      Promise.all(chosen.map(({ host }) => lookUp(host))),
      Promise.all(
        chosen.map(async ({ host, stanza }, index): Promise<Attempt | null> => {
          if (frontDoor === null || index >= ATTEMPTS_MAX || record.status === 'ASLEEP') return null;
          return await makeAttempt(frontDoor, { host, port: place.publicHttpsPort, spoken: spokenBy(stanza) }, signal);
        }),
      ),
    ]);
    if (attempts.some((attempt) => attempt !== null)) await pause(RECORD_MS, signal);
    const report = await connections.read(record.uid);
    const stanzas = chosen.map((one, index): ExplainedStanza => {
      const attempt = attempts[index] ?? null;
      const seen = attempt === null ? null : seenOf(report, attempt);
      const evidence: Evidence = {
        ...{
          record,
          stanza: one.stanza,
          host: one.host,
          routable,
          address,
          attempt,
        },
        lookup: lookups[index] ?? { problem: 'not looked up' },
        recorded: seen === null ? null : { code: seen.code, message: messageOf(report, seen.requestId) },
        nowMs: clock.now(),
      };
      return { ...evidence, name: one.name, findings: findingsOf(evidence), seen };
    });
    return { record, stanzas, missing: report.missing };
  }

  /** What the gateway has recorded of the pod's connections. USER. */
  async recorded(
    caller: Caller,
    podId: string,
  ): Promise<{ readonly record: PodRecord; readonly report: PodConnectionsReport }> {
    const { value: record } = await readPod(this.#parts, caller, podId, 'USER', 'Explaining connections');
    return { record, report: await this.#parts.connections.read(record.uid) };
  }
}

interface ChosenStanza {
  readonly name: string;
  readonly host: string;
  readonly stanza: Stanza;
}

function chooseStanzas(record: PodRecord, { stanza: wanted, place }: ExplainRequest): readonly ChosenStanza[] {
  const all = routedStanzas(record).map(({ name, stanza }) => ({
    name,
    stanza,
    host: podHost(record.podId, name, place.baseHost),
  }));
  const chosen = wanted === null ? all : all.filter(({ name }) => name === wanted);
  if (chosen.length > 0 || wanted === null) return chosen;
  const names = all.map(({ name }) => name).join(', ');
  throw new PodgateError('api.invalid', {
    publicMessages: [`stanza: the gateway serves ${names === '' ? 'none of this pod' : names}`],
  });
}

/** By the client's end of the connection; the newest, since ports are used again. */
function seenOf({ replicas }: PodConnectionsReport, { address, port }: Attempt): SeenConnection | null {
  return (
    replicas
      .flatMap(({ recent }) => recent)
      .filter((each) => each.port === port && each.address === address)
      .toSorted((a, b) => b.atMs - a.atMs)[0] ?? null
  );
}

/** What its client was told; null: it was not refused, or others were since. */
export function messageOf({ replicas }: PodConnectionsReport, requestId: string): string | null {
  return replicas.flatMap(({ refusals }) => refusals).find((each) => each.requestId === requestId)?.message ?? null;
}
