import { untilAborted } from '../../core/abort.ts';
import {
  type PackedTraffic,
  packTraffic,
  parsePackedTraffic,
  parseTrafficUids,
  type PodTrafficReader,
  type PodTrafficReport,
  sumTraffic,
} from '../../core/pod-traffic.ts';
import type { Clock } from '../../core/clock.ts';
import type { Replicas } from '../../core/replicas.ts';
import { workerText } from '../../core/worker-name.ts';
import { ReplicaQuestions } from './ask-replicas.ts';
import type { TrafficQuestions } from './worker-questions.ts';

/** Workers have one second of this. */
const ANSWER_MS = 2_000;
/** Others' questions that are being answered; one beyond is not. */
const ANSWERING_MAX = 50;
/** Readings under way, for users of this replica; one beyond knows nothing. */
const READING_MAX = 50;
/** A replica that has not answered is not asked again for so long: an earlier release never answers. */
const SILENCE_MS = 10_000;

const NOTHING: PodTrafficReport = { traffic: new Map(), missing: [] };

interface TrafficHere {
  /** Null: not all workers have answered. */
  readonly traffic: PackedTraffic | null;
  readonly missing: readonly string[];
}

/** Asks the workers of this replica over the feed, those of the others by way of the bus between replicas. */
export function createPodTrafficReader({
  questions,
  replicas,
  clock,
}: {
  readonly questions: Pick<TrafficQuestions, 'ask'>;
  readonly replicas: Replicas;
  readonly clock: Pick<Clock, 'monotonicMs'>;
}): PodTrafficReader & { run(signal: AbortSignal): Promise<void> } {
  const others = new ReplicaQuestions<readonly string[], PackedTraffic>({
    replicas,
    topic: 'traffic',
    parseQuestion: parseTrafficUids,
    parseAnswer: parsePackedTraffic,
    answeringMax: ANSWERING_MAX,
  });
  /** Replicas that have not answered, and until when they are left alone. */
  const silentUntilMs = new Map<string, number>();
  let readings = 0;

  function silentNow(): readonly string[] {
    const nowMs = clock.monotonicMs();
    const live = new Set(replicas.live().map(({ id }) => id));
    for (const [id, untilMs] of silentUntilMs) if (untilMs <= nowMs || !live.has(id)) silentUntilMs.delete(id);
    return [...silentUntilMs.keys()];
  }

  async function readHere(uids: readonly string[]): Promise<TrafficHere> {
    const { answers, missing } = await questions.ask(uids);
    const unreadable = answers.filter(({ answer }) => answer.length !== uids.length);
    const named = [...missing, ...unreadable.map(({ worker }) => worker)];
    const sums = sumTraffic(
      answers.map(({ answer }) => answer),
      uids.length,
    );
    return {
      traffic: missing.length > 0 || sums === null ? null : packTraffic(sums),
      missing: named.map((worker) => `${workerText(worker)} of replica ${replicas.id}`),
    };
  }

  async function readEverywhere(uids: readonly string[]): Promise<PodTrafficReport> {
    const asking = others.ask(uids, { timeoutMs: ANSWER_MS });
    const here = await readHere(uids);
    const { answers, missing } = await asking;
    for (const replica of missing) silentUntilMs.set(replica, clock.monotonicMs() + SILENCE_MS);
    const unknown = [...answers].filter(([, answer]) => answer.length !== uids.length).map(([replica]) => replica);
    const named = [...here.missing, ...[...missing, ...unknown].map((replica) => `replica ${replica}`)];
    if (here.traffic === null || missing.length > 0) return { ...NOTHING, missing: named };
    const sums = sumTraffic([here.traffic, ...answers.values()], uids.length);
    return { traffic: new Map(sums?.map((each, index) => [uids[index] ?? '', each])), missing: named };
  }

  return {
    async read(uids): Promise<PodTrafficReport> {
      if (uids.length === 0) return NOTHING;
      const silent = silentNow();
      // Without its answer, there are no sums, whatever the others answer.
      if (silent.length > 0) return { ...NOTHING, missing: silent.map((replica) => `replica ${replica}`) };
      if (readings >= READING_MAX) return { ...NOTHING, missing: [`replica ${replicas.id}`] };
      readings += 1;
      try {
        return await readEverywhere(uids);
      } finally {
        readings -= 1;
      }
    },

    async run(signal) {
      // No numbers at all are an answer as well: nobody waits for more.
      const stop = others.listen(async (uids) => (await readHere(uids)).traffic ?? []);
      await untilAborted(signal);
      stop();
    },
  };
}
