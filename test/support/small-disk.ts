import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { run } from './run.ts';

/** Takes whatever room there is to the last block, again and again, as a program does that writes without end. */
const FILLER = `
const { openSync, writeSync } = require('node:fs');
const file = openSync(process.argv[1], 'a');
const bytes = Buffer.alloc(65_536);
const fill = () => {
  for (const size of [bytes.length, 4096, 1]) {
    try { for (;;) writeSync(file, bytes, 0, size); } catch {}
  }
};
fill();
process.stdout.write('full');
setInterval(fill, 1);
`;

/**
 * A file system of its own that can be filled, and a program that takes every block that is freed on it. Needs root, as
 * the images in which the tests run have it.
 */
export class SmallDisk {
  readonly directory: string;
  #filler: ChildProcess | null = null;

  private constructor(directory: string) {
    this.directory = directory;
  }

  /** Of tmpfs. `PODGATE_TEST_DISK=btrfs`: of btrfs, which needs loop devices and btrfs-progs, and is at least 128 MiB. */
  static async mount(size: string): Promise<SmallDisk> {
    const directory = mkdtempSync(join(tmpdir(), 'podgate-full-'));
    if (process.env['PODGATE_TEST_DISK'] !== 'btrfs') {
      await succeeds('mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'tmpfs', directory]);
      return new SmallDisk(directory);
    }
    const image = `${directory}.img`;
    await succeeds('truncate', ['-s', '128M', image]);
    await succeeds('mkfs.btrfs', ['-q', image]);
    await succeeds('mount', ['-o', 'loop', image, directory]);
    // The mounted file system keeps it.
    rmSync(image);
    return new SmallDisk(directory);
  }

  /** Resolves when it is full. */
  async fill(): Promise<void> {
    const child = spawn(process.execPath, ['-e', FILLER, join(this.directory, 'filler')], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    this.#filler = child;
    await new Promise((resolve) => child.stdout.once('data', resolve));
  }

  async empty(): Promise<void> {
    await this.#stopFilling();
    rmSync(join(this.directory, 'filler'), { force: true });
  }

  async dispose(): Promise<void> {
    await this.#stopFilling();
    await run('umount', ['-l', this.directory]);
    rmSync(this.directory, { recursive: true });
  }

  async #stopFilling(): Promise<void> {
    const child = this.#filler;
    this.#filler = null;
    if (child === null || child.exitCode !== null) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await ended;
  }
}

async function succeeds(program: string, args: readonly string[]): Promise<void> {
  const { code, stderr } = await run(program, args);
  if (code !== 0) throw new Error(`${program} failed: ${stderr}`);
}
