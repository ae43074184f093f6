import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const KERNEL = '/usr/bin/linux.uml';
/** What the kernel prints of its own goes before this line. */
const BEGIN = 'podgate: the script begins';
const END = 'podgate: the script has ended with';

/** Whether machines can be started here (Debian package user-mode-linux). */
export const hasUserModeLinux = process.platform === 'linux' && process.arch === 'x64' && existsSync(KERNEL);

export interface MachineResult {
  /** Of the script; null when it did not end. */
  readonly code: number | null;
  readonly output: string;
}

/**
 * Runs a shell script, as root, on a Linux machine that has nothing mounted but this machine's files, read-only: a kernel
 * of its own that is an ordinary process (User-mode Linux). For what the kernel of the machine that runs the tests does not offer.
 */
export async function runOnMachine(script: string, timeoutMs: number): Promise<MachineResult> {
  const folder = await mkdtemp(join(tmpdir(), 'podgate-machine-'));
  try {
    await writeFile(join(folder, 'script.sh'), script);
    await writeFile(join(folder, 'init'), initOf(join(folder, 'script.sh')), { mode: 0o755 });
    const output = await runKernel(join(folder, 'init'), folder, timeoutMs);
    const [, printed = output] = output.split(`${BEGIN}\n`);
    const ended = new RegExp(`^${END} (\\d+)$`, 'm').exec(printed);
    return { code: ended === null ? null : Number(ended[1]), output: printed };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function initOf(script: string): string {
  return `#!/bin/bash
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
stty -onlcr < /dev/console
exec > /dev/console 2>&1
echo '${BEGIN}'
bash ${script}
echo "${END} $?"
halt -f
`;
}

/** Answers what its console printed. */
function runKernel(init: string, folder: string, timeoutMs: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const args = ['mem=1G', 'root=/dev/root', 'rootfstype=hostfs', 'rootflags=/', 'ro', 'quiet', `init=${init}`];
    // Its processes are processes of this machine as well: they end with the group.
    const kernel = spawn(KERNEL, [...args, 'con=null', 'con0=null,fd:1'], {
      env: { TMPDIR: folder, HOME: folder },
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    });
    let output = '';
    const add = (text: string): void => {
      output += text;
    };
    kernel.stdout.setEncoding('utf8').on('data', add);
    kernel.stderr.setEncoding('utf8').on('data', add);
    const endGroup = (): void => {
      try {
        if (kernel.pid !== undefined) process.kill(-kernel.pid, 'SIGKILL');
      } catch {
        // It has ended.
      }
    };
    const timer = setTimeout(endGroup, timeoutMs);
    kernel.once('error', reject);
    kernel.once('close', () => {
      clearTimeout(timer);
      endGroup();
      resolve(output);
    });
  });
}
