import { Chance } from '../../sim/scheduler.ts';

/** Printed with the test: the same seed makes the same bytes. */
export const SEED = Number(process.env['PODGATE_SIM_SEED'] ?? Date.now() % 1_000_000_007);

/** Bytes of chance, for parsers. */
export class Fuzz {
  readonly #chance = new Chance(SEED);

  bytes(length: number): Buffer {
    return Buffer.from(Array.from({ length }, () => this.#chance.below(256)));
  }

  /** The same bytes with up to five of them replaced. */
  damaged(bytes: Buffer): Buffer {
    const copy = Buffer.from(bytes);
    for (let damage = this.#chance.below(5); damage >= 0; damage--) {
      copy[this.#chance.below(copy.length)] = this.#chance.below(256);
    }
    return copy;
  }
}
