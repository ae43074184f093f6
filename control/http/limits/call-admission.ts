import { addressKey } from '../../../core/address-key.ts';
import { PodgateError } from '../../../core/errors.ts';

/** What the calls of one replica may hold at a time. */
export interface CallLimits {
  readonly calls: number;
  readonly callsPerTenant: number;
  readonly callsPerUser: number;
  /** Per client address; IPv6 per /64. */
  readonly callsPerAddress: number;
  /** Bodies being received and responses being sent. */
  readonly bytes: number;
  readonly bytesPerTenant: number;
  readonly bytesPerUser: number;
}

export const DEFAULT_CALL_LIMITS: CallLimits = {
  calls: 512,
  callsPerTenant: 256,
  callsPerUser: 64,
  callsPerAddress: 128,
  bytes: 256 * 1024 * 1024,
  bytesPerTenant: 128 * 1024 * 1024,
  bytesPerUser: 64 * 1024 * 1024,
};

const CALL_REFUSALS = ['calls', 'tenant', 'user', 'address', 'bytes', 'tenant-bytes', 'user-bytes'] as const;
export type CallRefusal = (typeof CALL_REFUSALS)[number];

/** One call, from its first header to the last byte of its response. */
export interface AdmittedCall {
  /** Counts the call for its user from now on. Throws 'api.too-many-requests'. */
  identify(caller: { readonly tenant: string; readonly username: string }): void;
  /**
   * Sets how many bytes the call may hold. Throws 'api.too-many-requests' or 'api.overloaded' when it asks for more than
   * is left; what it had before stays.
   */
  reserve(bytes: number): void;
  /** The same without a refusal, for a response that must be sent because the change is made. */
  hold(bytes: number): void;
  /** Gives everything back; once is enough. */
  leave(): void;
}

interface Usage {
  calls: number;
  bytes: number;
}

/**
 * Counts calls and bytes in flight per address, user, tenant and in total, and refuses what exceeds a limit. All of it is
 * in memory: the resource that runs out, the memory of this process, belongs to this replica alone.
 */
export class CallAdmission {
  readonly #limits: CallLimits;
  readonly #total: Usage = { calls: 0, bytes: 0 };
  readonly #addresses = new Map<string, Usage>();
  readonly #tenants = new Map<string, Usage>();
  readonly #users = new Map<string, Usage>();
  readonly #refused = new Map<CallRefusal, number>(CALL_REFUSALS.map((reason) => [reason, 0]));

  constructor(limits: CallLimits) {
    this.#limits = limits;
  }

  /** Throws 'api.too-many-requests' for this address's own calls, 'api.overloaded' for everyone's. */
  enter(address: string): AdmittedCall {
    const block = addressKey(address);
    if (this.#total.calls >= this.#limits.calls) throw this.#refuse('calls');
    const own = usageOf(this.#addresses, block);
    if (own.calls >= this.#limits.callsPerAddress) throw this.#refuse('address');
    own.calls += 1;
    this.#total.calls += 1;
    return this.#admitted(block);
  }

  get calls(): number {
    return this.#total.calls;
  }
  get bytes(): number {
    return this.#total.bytes;
  }
  refused(): Readonly<Record<CallRefusal, number>> {
    return Object.fromEntries(this.#refused) as Record<CallRefusal, number>;
  }

  #admitted(block: string): AdmittedCall {
    let owner: { readonly tenant: string; readonly user: string } | null = null;
    let held = 0;
    let hasLeft = false;
    const add = (bytes: number): void => {
      held += bytes;
      this.#total.bytes += bytes;
      if (owner === null) return;
      usageOf(this.#tenants, owner.tenant).bytes += bytes;
      usageOf(this.#users, owner.user).bytes += bytes;
    };
    return {
      identify: ({ tenant, username }) => {
        const user = `${tenant}/${username}`;
        const ofUser = usageOf(this.#users, user);
        const ofTenant = usageOf(this.#tenants, tenant);
        const reason =
          ofUser.calls >= this.#limits.callsPerUser
            ? 'user'
            : ofTenant.calls >= this.#limits.callsPerTenant
              ? 'tenant'
              : null;
        if (reason !== null) {
          forgetIfUnused(this.#users, user);
          forgetIfUnused(this.#tenants, tenant);
          throw this.#refuse(reason);
        }
        ofUser.calls += 1;
        ofTenant.calls += 1;
        owner = { tenant, user };
        ofUser.bytes += held;
        ofTenant.bytes += held;
      },
      reserve: (bytes) => {
        const more = bytes - held;
        const reason = more <= 0 ? null : this.#exceeded(owner, more);
        if (reason !== null) throw this.#refuse(reason);
        if (!hasLeft) add(more);
      },
      hold: (bytes) => {
        if (!hasLeft) add(bytes - held);
      },
      leave: () => {
        if (hasLeft) return;
        hasLeft = true;
        add(-held);
        this.#total.calls -= 1;
        usageOf(this.#addresses, block).calls -= 1;
        forgetIfUnused(this.#addresses, block);
        if (owner === null) return;
        usageOf(this.#tenants, owner.tenant).calls -= 1;
        usageOf(this.#users, owner.user).calls -= 1;
        forgetIfUnused(this.#tenants, owner.tenant);
        forgetIfUnused(this.#users, owner.user);
      },
    };
  }

  #exceeded(owner: { readonly tenant: string; readonly user: string } | null, more: number): CallRefusal | null {
    const { bytes, bytesPerTenant, bytesPerUser } = this.#limits;
    if (owner !== null && usageOf(this.#users, owner.user).bytes + more > bytesPerUser) return 'user-bytes';
    if (owner !== null && usageOf(this.#tenants, owner.tenant).bytes + more > bytesPerTenant) return 'tenant-bytes';
    return this.#total.bytes + more > bytes ? 'bytes' : null;
  }

  #refuse(reason: CallRefusal): PodgateError {
    this.#refused.set(reason, (this.#refused.get(reason) ?? 0) + 1);
    const isOverload = reason === 'calls' || reason === 'bytes';
    return new PodgateError(isOverload ? 'api.overloaded' : 'api.too-many-requests', {
      publicMessages: [this.#sentence(reason)],
    });
  }

  #sentence(reason: CallRefusal): string {
    const { callsPerAddress, callsPerUser, callsPerTenant, bytesPerUser, bytesPerTenant } = this.#limits;
    switch (reason) {
      case 'calls':
      case 'bytes':
        return 'The API is at its limit. Try again in a moment.';
      case 'address':
        return `Your address has ${callsPerAddress} calls in progress, the maximum. Wait until one of them ends.`;
      case 'user':
        return `You have ${callsPerUser} calls in progress, the maximum. Wait until one of them ends.`;
      case 'tenant':
        return `The users of your tenant have ${callsPerTenant} calls in progress, the maximum. Try again in a moment.`;
      case 'user-bytes':
        return (
          `Your calls in progress hold ${megabytes(bytesPerUser)} of requests and responses, the maximum. ` +
          'Read the responses you have asked for, or ask for less at a time.'
        );
      case 'tenant-bytes':
        return (
          `The calls of your tenant in progress hold ${megabytes(bytesPerTenant)} of requests and responses, ` +
          'the maximum. Try again in a moment.'
        );
    }
  }
}

function usageOf(usages: Map<string, Usage>, key: string): Usage {
  let usage = usages.get(key);
  if (usage === undefined) usages.set(key, (usage = { calls: 0, bytes: 0 }));
  return usage;
}

function forgetIfUnused(usages: Map<string, Usage>, key: string): void {
  if (usages.get(key)?.calls === 0) usages.delete(key);
}

function megabytes(bytes: number): string {
  return `${Math.floor(bytes / 1024 / 1024)} MiB`;
}
