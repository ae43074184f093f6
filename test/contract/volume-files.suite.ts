import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PodgateError } from '../../core/errors.ts';
import { until } from '../support/until.ts';
import type { FilesRef, OpenedDirectory, OpenedFile, VolumeFiles } from '../../core/volume.ts';

const MIB = 1024 * 1024;

export interface VolumeFilesHarness {
  readonly files: VolumeFiles;
  /** Runs a shell command in the directory of a volume's files, as a pod that mounts it could. */
  readonly inVolume: (ref: FilesRef, command: string) => Promise<void>;
  readonly close: () => Promise<void>;
}

/** The laws of `VolumeFiles` (core/volume.ts), for every implementation. */
export function describeVolumeFiles(name: string, open: () => Promise<VolumeFilesHarness>): void {
  describe(`VolumeFiles in ${name}`, () => {
    let harness: VolumeFilesHarness;
    let files: VolumeFiles;

    beforeAll(async () => {
      harness = await open();
      ({ files } = harness);
    });
    afterAll(() => harness.close());

    const newRef = (kind: FilesRef['kind'] = 'volume'): FilesRef => ({
      ...{ kind, uid: randomUUID(), tenant: 'dev', id: 'data' },
    });
    const write = (ref: FilesRef, path: string, text: string | Uint8Array, sizeLimitMiB = 64) =>
      files.write(ref, path, once(Buffer.from(text)), { sizeLimitMiB });
    const named = async (ref: FilesRef, path: string): Promise<string[]> => {
      const names: string[] = [];
      for await (const { name: each, type, sizeBytes } of files.list(ref, path)) {
        names.push(`${each} ${type}${type === 'file' ? ` ${sizeBytes}` : ''}`);
      }
      return names.sort();
    };
    const fileAt = async (ref: FilesRef, path: string): Promise<OpenedFile> => {
      const opened = await files.open(ref, path);
      if (opened.kind !== 'file') throw new Error('a directory');
      return opened;
    };
    const directoryAt = async (ref: FilesRef, path: string): Promise<OpenedDirectory> => {
      const opened = await files.open(ref, path);
      if (opened.kind !== 'directory') throw new Error('a file');
      return opened;
    };
    const textOf = async (ref: FilesRef, path: string, start = 0, end = Infinity): Promise<string> => {
      const file = await fileAt(ref, path);
      try {
        return (await collected(file.read(start, Math.min(end, file.sizeBytes)))).toString();
      } finally {
        await file.close();
      }
    };
    const codeOf = async (work: Promise<unknown>): Promise<string> => {
      const error = await work.then(
        () => null,
        (thrown: unknown) => thrown,
      );
      if (error instanceof PodgateError && error.code !== 'orchestrator.unavailable') return error.code;
      throw new Error(`not refused: ${String(error)}`);
    };

    it('are empty before they are used, and reading creates nothing', async () => {
      const ref = newRef();
      expect(await named(ref, '')).toEqual([]);
      expect(await files.usage(ref)).toMatchObject({ bytes: 0, files: 0 });
      expect(await codeOf(files.open(ref, 'nothing'))).toBe('api.not-found');
      expect(await codeOf(named(ref, 'nothing'))).toBe('api.not-found');
      await files.remove(ref);
    });

    it('are written, listed, read as a whole and in part, and replaced', async () => {
      const ref = newRef();
      await write(ref, 'a/b.txt', 'hello world');
      await write(ref, 'top', 'x');
      expect(await named(ref, '')).toEqual(['a dir', 'top file 1']);
      expect(await named(ref, '/a/')).toEqual(['b.txt file 11']);
      expect(await textOf(ref, 'a/b.txt')).toBe('hello world');
      expect(await textOf(ref, 'a//b.txt', 6, 9)).toBe('wor');
      await write(ref, 'a/b.txt', 'new');
      expect(await textOf(ref, 'a/b.txt')).toBe('new');
      expect(await files.usage(ref)).toMatchObject({ bytes: 4, files: 3 });
      await files.remove(ref);
    });

    it('have another tag after each change of their bytes, even one that keeps size and time', async () => {
      const ref = newRef();
      await write(ref, 'a', 'first');
      const tag = async (): Promise<string | null> => {
        const file = await fileAt(ref, 'a');
        await file.close();
        return file.changeTag;
      };
      const first = await until('a tag', tag);
      expect(await tag()).toBe(first);
      await harness.inVolume(ref, 'touch -r a kept && printf other > a && touch -r kept a');
      const second = await until('another tag', tag);
      expect(second).not.toBe(first);
      await write(ref, 'a', 'third');
      const third = await until('a third tag', tag);
      expect([first, second]).not.toContain(third);
      await files.remove(ref);
    });

    it('are deleted one by one, and the target of a link stays', async () => {
      const ref = newRef();
      await write(ref, 'a/b.txt', 'hello');
      await write(ref, 'kept', 'kept');
      expect(await files.usage(ref)).toMatchObject({ bytes: 9, files: 3 });
      for (const path of ['..', 'a/../kept', './kept', '/kept/x', 'a', '', '/', 'a\0', '../data/kept'])
        expect(await codeOf(files.removeFile(ref, path)), path).toBe('api.invalid');
      expect(await files.usage(ref)).toMatchObject({ bytes: 9, files: 3 });
      await files.removeFile(ref, '/a/b.txt');
      expect(await named(ref, 'a')).toEqual([]);
      expect(await files.usage(ref)).toMatchObject({ bytes: 4, files: 2 });
      expect(await codeOf(files.removeFile(ref, 'a/b.txt'))).toBe('api.not-found');
      // Uploads make directories: an empty one can be deleted as well.
      await files.removeFile(ref, 'a');
      expect(await files.usage(ref)).toMatchObject({ bytes: 4, files: 1 });
      await harness.inVolume(ref, 'mkdir d && ln -s ../kept d/out && ln -s /etc dir && ln -s d in && ln kept twice');
      await harness.inVolume(ref, 'mkfifo pipe');
      for (const path of ['dir/passwd', 'in/out', 'd'])
        expect(await codeOf(files.removeFile(ref, path)), path).toBe('api.invalid');
      for (const path of ['d/out', 'dir', 'in', 'twice', 'pipe']) await files.removeFile(ref, path);
      expect(await named(ref, '')).toEqual(['d dir', 'kept file 4']);
      expect(await textOf(ref, 'kept')).toBe('kept');
      await files.remove(ref);
      expect(await codeOf(files.removeFile(ref, 'nothing'))).toBe('api.not-found');
      await files.remove(ref);
    });

    it('keep large files unchanged, written in pieces of any size', async () => {
      const ref = newRef();
      const content = Buffer.alloc(5 * MIB + 7, 'podgate');
      async function* pieces() {
        yield content.subarray(0, 1);
        yield content.subarray(1, 3 * MIB);
        yield content.subarray(3 * MIB);
      }
      await files.write(ref, 'large', pieces(), { sizeLimitMiB: 64 });
      const file = await fileAt(ref, 'large');
      expect((await collected(file.read(0, file.sizeBytes))).equals(content)).toBe(true);
      await file.close();
      // A reader that leaves in the middle harms nobody.
      const left = await fileAt(ref, 'large');
      for await (const bytes of left.read(0, left.sizeBytes)) if (bytes.length > 0) break;
      await left.close();
      expect(await textOf(ref, 'large', 0, 7)).toBe('podgate');
      await files.remove(ref);
    });

    it('never exceed their limit, together or alone, and a failed write leaves nothing', async () => {
      const ref = newRef();
      await write(ref, 'kept', 'kept', 1);
      expect(await codeOf(write(ref, 'kept', Buffer.alloc(MIB), 1))).toBe('api.too-large');
      async function* endless() {
        for (;;) yield Buffer.alloc(256 * 1024);
      }
      expect(await codeOf(files.write(ref, 'kept', endless(), { sizeLimitMiB: 1 }))).toBe('api.too-large');
      async function* broken() {
        yield Buffer.from('half');
        throw new Error('the client left');
      }
      await expect(files.write(ref, 'broken', broken(), { sizeLimitMiB: 1 })).rejects.toThrow('the client left');
      const half = Buffer.alloc(MIB / 2 + MIB / 4);
      const both = await Promise.allSettled([write(ref, 'one', half, 1), write(ref, 'two', half, 1)]);
      expect(both.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
      expect(await named(ref, '')).toHaveLength(2);
      expect(await textOf(ref, 'kept')).toBe('kept');
      await files.remove(ref);
    });

    it('confine every path and every symbolic link', async () => {
      const ref = newRef();
      await write(ref, 'inside', 'inside');
      for (const path of ['..', 'a/../../b', 'a\0b', './inside']) {
        expect(await codeOf(files.open(ref, path)), path).toBe('api.invalid');
        expect(await codeOf(write(ref, path, 'x')), path).toBe('api.invalid');
      }
      await harness.inVolume(ref, 'ln -s /etc/passwd out && ln -s /etc dir && mkfifo pipe');
      expect(await named(ref, '')).toEqual(['dir symbolic_link', 'inside file 6', 'out symbolic_link', 'pipe other']);
      for (const path of ['out', 'dir/passwd', 'pipe'])
        expect(await codeOf(files.open(ref, path)), path).toBe('api.invalid');
      expect(await codeOf(named(ref, 'dir'))).toBe('api.invalid');
      expect(await codeOf(write(ref, 'dir/podgate-test', 'x'))).toBe('api.invalid');
      // A link in the place of a file is replaced itself.
      await write(ref, 'out', 'mine');
      expect(await textOf(ref, 'out')).toBe('mine');
      await files.remove(ref);
    });

    it('are walked, each file with its bytes, which may be skipped', async () => {
      const ref = newRef();
      await write(ref, 'd/one', '1');
      await write(ref, 'd/e/two', '22');
      await write(ref, 'd/three', '333');
      const directory = await directoryAt(ref, 'd');
      const seen: string[] = [];
      for await (const { path, bytes } of directory.walk(10)) {
        seen.push(
          bytes === null
            ? path
            : path === 'three'
              ? `${path} passed over`
              : `${path} ${(await collected(bytes)).toString()}`,
        );
      }
      await directory.close();
      expect(seen.sort()).toEqual(['e', 'e/two 22', 'one 1', 'three passed over']);
      const few = await directoryAt(ref, 'd');
      const all = async () => {
        for await (const { bytes } of few.walk(1)) if (bytes !== null) await collected(bytes);
      };
      expect(await codeOf(all())).toBe('api.invalid');
      await few.close();
      await files.remove(ref);
    });

    it('are copied completely, and survive the removal of their source', async () => {
      const ref = newRef();
      await write(ref, 'from/deep/file', 'content');
      await write(ref, 'single', 'alone');
      const [tree, one, never] = [newRef('snapshot'), newRef('snapshot'), newRef('snapshot')];
      const to = (target: FilesRef, path: string, sizeLimitMiB = 8) => ({ ref: target, path, sizeLimitMiB });
      const signal = new AbortController().signal;
      await files.copy({ ref, path: 'from' }, to(tree, 'to'), signal);
      await files.copy({ ref, path: 'single' }, to(one, 'single'), signal);
      expect(await codeOf(files.copy({ ref, path: 'absent' }, to(never, ''), signal))).toBe('api.not-found');
      await write(ref, 'big', Buffer.alloc(MIB + 1));
      expect(await codeOf(files.copy({ ref, path: 'big' }, to(never, 'big', 1), signal))).toBe('api.too-large');
      await files.remove(ref);
      expect(await textOf(tree, 'to/deep/file')).toBe('content');
      expect(await textOf(one, 'single')).toBe('alone');
      expect(await files.usage(one)).toMatchObject({ bytes: 5, files: 1 });
      await Promise.all([tree, one, never].map((each) => files.remove(each)));
    });

    it('end with their removal, which may be repeated', async () => {
      const ref = newRef();
      await write(ref, 'f', 'x');
      await files.remove(ref);
      await files.remove(ref);
      expect(await named(ref, '')).toEqual([]);
    });
  });
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

async function collected(pieces: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const all: Uint8Array[] = [];
  for await (const piece of pieces) all.push(piece);
  return Buffer.concat(all);
}
