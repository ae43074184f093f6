import { until } from '../../support/until.ts';
import { type Client, type Destination, type Gateway, type Mishap, Witness } from './client.ts';
import { EchoClient } from './echo-client.ts';
import { HttpClient } from './http-client.ts';

export interface CrowdTargets {
  /** TCP pods that echo. */
  readonly echo: readonly Destination[];
  readonly http: readonly Destination[];
}

/** Many clients at once, half of them long TCP sessions and half kept HTTP connections, spread over the pods. */
export class Crowd {
  readonly witness = new Witness();
  readonly #clients: readonly Client[];

  constructor(count: number, gateway: Gateway, { echo, http }: CrowdTargets) {
    this.#clients = Array.from({ length: count }, (_, index) => {
      const targets = index % 2 === 0 ? echo : http;
      const destination = targets[(index >> 1) % targets.length];
      if (destination === undefined) throw new Error('there is no pod for the clients');
      return index % 2 === 0
        ? new EchoClient(gateway, destination, this.witness)
        : new HttpClient(gateway, destination, this.witness);
    });
  }

  get size(): number {
    return this.#clients.length;
  }

  /** Waits until every client has exchanged something since now. */
  async allServed(timeoutMs: number): Promise<void> {
    const before = this.#clients.map(({ exchanges }) => exchanges);
    await until(
      'every client exchanges bytes with its pod',
      () => this.#clients.every(({ exchanges }, index) => exchanges > (before[index] ?? 0)),
      { timeoutMs, everyMs: 100 },
    ).catch((error: unknown) => {
      const { refused, cuts } = this.witness;
      const last = [...refused.slice(-3), ...cuts.slice(-3)].map(({ host, why }) => `${host}: ${why}`);
      throw new Error(`not every client is served: ${last.join('; ')}`, { cause: error });
    });
  }

  /** Where the witness stands, to see later what came after. */
  mark(): CrowdMark {
    const { exchanges, sessions, cuts, refused, wrong } = this.witness;
    return { exchanges, sessions, cuts: cuts.length, refused: refused.length, wrong: wrong.length };
  }

  since(mark: CrowdMark): CrowdCount {
    const { exchanges, sessions, cuts, refused, wrong } = this.witness;
    return {
      exchanges: exchanges - mark.exchanges,
      sessions: sessions - mark.sessions,
      cuts: cuts.slice(mark.cuts),
      refused: refused.slice(mark.refused),
      wrong: wrong.slice(mark.wrong),
    };
  }

  close(): void {
    for (const client of this.#clients) client.close();
  }
}

export interface CrowdMark {
  readonly exchanges: number;
  readonly sessions: number;
  readonly cuts: number;
  readonly refused: number;
  readonly wrong: number;
}

export interface CrowdCount {
  readonly exchanges: number;
  readonly sessions: number;
  readonly cuts: readonly Mishap[];
  readonly refused: readonly Mishap[];
  readonly wrong: readonly Mishap[];
}
