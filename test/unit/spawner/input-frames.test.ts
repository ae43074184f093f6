import { expect, it } from 'vitest';
import { inputFrames } from '../../../spawner/orchestrator/exec/input-frames.ts';

async function* of(sizes: readonly number[]): AsyncGenerator<Uint8Array> {
  let at = 0;
  for (const size of sizes) yield Buffer.from(Array.from({ length: size }, () => at++ % 251));
}

it.each([[[]], [[0]], [[1, 2, 3]], [[262_144]], [[262_143, 2]], [[800_000, 1, 262_144, 0, 7]]])(
  'the input of a command comes in frames of a bounded size: pieces of %j bytes',
  async (sizes) => {
    const frames: Uint8Array[] = [];
    for await (const frame of inputFrames(of(sizes))) frames.push(frame);
    expect(frames.slice(0, -1).every(({ length }) => length === 262_144)).toBe(true);
    expect(frames.every(({ length }) => length > 0 && length <= 262_144)).toBe(true);
    const all = Buffer.concat(frames);
    expect(all.length).toBe(sizes.reduce((sum: number, size: number) => sum + size, 0));
    expect(all.every((byte, index) => byte === index % 251)).toBe(true);
  },
);
