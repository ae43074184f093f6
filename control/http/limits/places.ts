import { PodgateError } from '../../../core/errors.ts';

export interface PlaceLimits {
  readonly all: number;
  readonly perTenant: number;
  readonly perUser: number;
}

export interface PlacesOptions {
  readonly limits: PlaceLimits;
  /** Behind a number in a sentence: `streams of events open`. */
  readonly what: string;
  /** Sentences: what a user who has the most can do, and that all places are taken. */
  readonly remedy: string;
  readonly full: string;
}

/** Counts what users have open in this replica for longer than a call: streams of events, commands that run. */
export class Places {
  readonly #options: PlacesOptions;
  readonly #users = new Map<string, number>();
  readonly #tenants = new Map<string, number>();
  #total = 0;

  constructor(options: PlacesOptions) {
    this.#options = options;
  }

  get total(): number {
    return this.#total;
  }

  /** Throws 'api.too-many-requests', 'api.overloaded'. Returns what gives the place back, once. */
  enter({ tenant, username }: { readonly tenant: string; readonly username: string }): () => void {
    const { limits, what, remedy, full } = this.#options;
    const user = `${tenant}/${username}`;
    if ((this.#users.get(user) ?? 0) >= limits.perUser)
      throw tooMany(`You have ${limits.perUser} ${what}, the maximum. ${remedy}`);
    if ((this.#tenants.get(tenant) ?? 0) >= limits.perTenant)
      throw tooMany(`The users of your tenant have ${limits.perTenant} ${what}, the maximum.`);
    if (this.#total >= limits.all)
      throw new PodgateError('api.overloaded', { publicMessages: [`${full} Try again in a moment.`] });
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
