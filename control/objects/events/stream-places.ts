import { PodgateError } from '../../../core/errors.ts';
import type { Caller } from '../../auth/authenticator.ts';

export interface StreamLimits {
  readonly streams: number;
  readonly streamsPerTenant: number;
  readonly streamsPerUser: number;
}

export const DEFAULT_STREAM_LIMITS: StreamLimits = { streams: 1_024, streamsPerTenant: 512, streamsPerUser: 16 };

/** Counts the streams of this replica. Calls are counted apart from them: see AdmittedCall. */
export class StreamPlaces {
  readonly #limits: StreamLimits;
  readonly #users = new Map<string, number>();
  readonly #tenants = new Map<string, number>();
  #total = 0;

  constructor(limits: StreamLimits) {
    this.#limits = limits;
  }

  get total(): number {
    return this.#total;
  }

  /** Throws 'api.too-many-requests', 'api.overloaded'. Returns what gives the place back, once. */
  enter({ tenant, username }: Caller): () => void {
    const { streams, streamsPerTenant, streamsPerUser } = this.#limits;
    const user = `${tenant}/${username}`;
    if ((this.#users.get(user) ?? 0) >= streamsPerUser)
      throw tooMany(`You have ${streamsPerUser} streams of events open, the maximum. Close one of them.`);
    if ((this.#tenants.get(tenant) ?? 0) >= streamsPerTenant)
      throw tooMany(`The users of your tenant have ${streamsPerTenant} streams of events open, the maximum.`);
    if (this.#total >= streams)
      throw new PodgateError('api.overloaded', {
        publicMessages: ['All streams of events are in use. Try again in a moment.'],
      });
    const add = (by: number): void => {
      this.#total += by;
      count(this.#users, user, by);
      count(this.#tenants, tenant, by);
    };
    add(1);
    return () => add(-1);
  }
}

function count(counts: Map<string, number>, key: string, by: number): void {
  const now = (counts.get(key) ?? 0) + by;
  if (now === 0) counts.delete(key);
  else counts.set(key, now);
}

function tooMany(sentence: string): PodgateError {
  return new PodgateError('api.too-many-requests', { publicMessages: [sentence] });
}
