import type { Chance } from '../sim/scheduler.ts';

/** Lengths and codes at which something may change: of one, two and four bytes. */
const EDGES = [0, 1, 2, 3, 4, 7, 8, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000, 0xffff, 0x10000, 0x7fffffff, 0xffffffff];
const CHANGES_MAX = 4;
const NOISE_MAX_BYTES = 300;

export interface Material {
  /** Whole, valid inputs. */
  readonly seeds: readonly Buffer[];
  /** What means something to the parser, to be put in anywhere. */
  readonly tokens: readonly Buffer[];
}

/** A seed, changed in a few places; now and then a mixture of two, or noise. */
export function mutated({ seeds, tokens }: Material, chance: Chance): Buffer {
  if (chance.below(50) === 0) return noise(chance.below(NOISE_MAX_BYTES), chance);
  let bytes: Buffer = Buffer.from(chance.pick(seeds));
  for (let changes = chance.below(CHANGES_MAX) + 1; changes > 0; changes--)
    bytes = changed(bytes, seeds, tokens, chance);
  return bytes;
}

function changed(bytes: Buffer, seeds: readonly Buffer[], tokens: readonly Buffer[], chance: Chance): Buffer {
  const at = chance.below(bytes.length + 1);
  const end = Math.min(bytes.length, at + 1 + chance.below(chance.below(4) === 0 ? bytes.length + 1 : 8));
  const [head, tail] = [bytes.subarray(0, at), bytes.subarray(at)];
  switch (chance.below(9)) {
    case 0: // One byte is another.
      return Buffer.concat([head, noise(1, chance), tail.subarray(1)]);
    case 1: // One bit is another.
      if (at < bytes.length) bytes[at] = (bytes[at] ?? 0) ^ (1 << chance.below(8));
      return bytes;
    case 2: // Something is put in...
      return Buffer.concat([head, tokens.length === 0 ? noise(2, chance) : chance.pick(tokens), tail]);
    case 3: // ... or put in the place of as much,
      return overwritten(bytes, at, tokens.length === 0 ? noise(2, chance) : chance.pick(tokens));
    case 4: // taken out,
      return Buffer.concat([head, bytes.subarray(end)]);
    case 5: // said twice,
      return Buffer.concat([bytes.subarray(0, end), bytes.subarray(at)]);
    case 6: // cut off,
      return Buffer.from(head);
    case 7: {
      // gone on with as another seed goes on,
      const other = chance.pick(seeds);
      return Buffer.concat([head, other.subarray(chance.below(other.length + 1))]);
    }
    default: // or a number at an edge.
      return overwritten(bytes, at, edge(chance));
  }
}

function overwritten(bytes: Buffer, at: number, by: Buffer): Buffer {
  return Buffer.concat([bytes.subarray(0, at), by, bytes.subarray(at + by.length)]);
}

function edge(chance: Chance): Buffer {
  const width = chance.pick([1, 2, 4]);
  const bytes = Buffer.alloc(width);
  const most = 2 ** (8 * width);
  bytes.writeUIntBE(chance.pick(EDGES) % most, 0, width);
  return bytes;
}

export function noise(length: number, chance: Chance): Buffer {
  const bytes = Buffer.allocUnsafe(length);
  for (let index = 0; index < length; index++) bytes[index] = chance.below(256);
  return bytes;
}
