import type { Logger } from '../../core/logger.ts';
import { type GuardedInterval, setGuardedInterval } from '../../core/guarded-timer.ts';
import type { SupervisedChild } from './supervised-child.ts';
import { type HangLimits, HangWatch, type SilentProcess } from './hang-watch.ts';
import { ALIVE_EVERY_MS, type ChildRole } from '../messages.ts';

const WATCH_EVERY_MS = 500;
/** The most that counts as elapsed between two ticks: for the rest of the time, this process itself was stopped. */
const TICK_MOST_MS = 2 * WATCH_EVERY_MS;
const SILENT_MOST_MS = 3_000;
const START_MS = 60_000;
/** Minimum time between two kills: when everything hangs at once, the machine is the likelier cause. */
const KILLS_APART_MS = 2_000;
/** A child that hangs again within this time gets twice the time, up to eight times. */
const REPEATED_WITHIN_MS = 10 * 60_000;
const FACTOR_MOST = 8;

export interface HangSupervisionOptions {
  /** 0 = processes of that role are never killed for silence. */
  readonly hungAfterMs: (role: ChildRole) => number;
  readonly look: (pid: number) => SilentProcess | null;
  readonly onSilent: (child: SupervisedChild) => void;
  /** It was silent and has sent a heartbeat again. */
  readonly onRecovered: (child: SupervisedChild) => void;
  readonly onKilled: (child: SupervisedChild) => void;
  readonly nowMs: () => number;
  readonly log: Logger;
}

interface Watched {
  readonly pid: number;
  readonly watch: HangWatch;
  isSilent: boolean;
}

/**
 * Kills children that hang: a process that is stopped or spins keeps its listening sockets, and with them its share of
 * the new connections, for as long as it lives.
 */
export class HangSupervision {
  readonly #options: HangSupervisionOptions;
  readonly #watched = new Map<SupervisedChild, Watched>();
  /** When the children of that role and number were killed, lately. */
  readonly #kills = new Map<string, number[]>();
  #lastTickMs: number;
  #lastKillMs = -Infinity;

  constructor(options: HangSupervisionOptions) {
    this.#options = options;
    this.#lastTickMs = options.nowMs();
  }

  run(): GuardedInterval {
    const { log } = this.#options;
    return setGuardedInterval({ everyMs: WATCH_EVERY_MS, work: () => this.tick(), name: 'heartbeats', log });
  }

  started(child: SupervisedChild): void {
    const { pid, role } = child;
    const hungAfterMs = this.#options.hungAfterMs(role);
    if (pid === undefined || hungAfterMs === 0) return;
    const limits = limitsOf(hungAfterMs * this.#factor(child));
    this.#watched.set(child, { pid, watch: new HangWatch(limits), isSilent: false });
  }

  ended(child: SupervisedChild): void {
    this.#watched.delete(child);
  }

  heard(child: SupervisedChild, isDebugged: boolean): void {
    const watched = this.#watched.get(child);
    if (watched === undefined) return;
    watched.watch.heard(isDebugged);
    if (!watched.isSilent) return;
    watched.isSilent = false;
    this.#options.onRecovered(child);
  }

  tick(): void {
    const { nowMs, look, onSilent } = this.#options;
    const now = nowMs();
    const elapsedMs = Math.min(now - this.#lastTickMs, TICK_MOST_MS);
    this.#lastTickMs = now;
    for (const [child, watched] of this.#watched) {
      // A process that has just sent a heartbeat needs no look at /proc.
      const verdict = watched.watch.tick(elapsedMs, () =>
        watched.watch.silentMs < ALIVE_EVERY_MS ? null : look(watched.pid),
      );
      if (verdict === 'alive') continue;
      if (!watched.isSilent) {
        watched.isSilent = true;
        onSilent(child);
      }
      if (verdict === 'hung' && now - this.#lastKillMs >= KILLS_APART_MS) this.#kill(child, watched, now);
    }
  }

  #kill(child: SupervisedChild, { pid, watch }: Watched, nowMs: number): void {
    const { role, number } = child;
    const silentMs = Math.round(watch.silentMs);
    this.#options.log.error({ role, number, pid, silentMs }, 'a child process hangs: killing it');
    this.#lastKillMs = nowMs;
    const key = `${role} ${number}`;
    this.#kills.set(key, [...this.#lately(child, nowMs), nowMs]);
    this.#watched.delete(child);
    child.killHung();
    this.#options.onKilled(child);
  }

  #factor(child: SupervisedChild): number {
    return Math.min(FACTOR_MOST, 2 ** this.#lately(child, this.#options.nowMs()).length);
  }

  #lately({ role, number }: SupervisedChild, nowMs: number): readonly number[] {
    return (this.#kills.get(`${role} ${number}`) ?? []).filter((killedMs) => nowMs - killedMs < REPEATED_WITHIN_MS);
  }
}

function limitsOf(hungAfterMs: number): HangLimits {
  return { hungAfterMs, silentAfterMs: Math.min(SILENT_MOST_MS, hungAfterMs / 2), startMs: START_MS };
}
