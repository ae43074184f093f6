import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from './redis-server.ts';
import { until } from './until.ts';

/** Real Sentinels that watch one master. */
export class RedisSentinels {
  readonly ports: readonly number[];
  readonly #folder = mkdtempSync(join(tmpdir(), 'podgate-sentinel-'));
  readonly #children: ChildProcess[] = [];

  private constructor(ports: readonly number[]) {
    this.ports = ports;
  }

  /** `settings`: further lines of each Sentinel's file. */
  static async start(count: number, masterPort: number, settings: readonly string[] = []): Promise<RedisSentinels> {
    const ports: number[] = [];
    while (ports.length < count) ports.push(await freePort());
    const sentinels = new RedisSentinels(ports);
    for (const port of ports) await sentinels.#start(port, masterPort, settings);
    return sentinels;
  }

  get hosts(): string {
    return this.ports.map((port) => `127.0.0.1:${port}`).join(',');
  }

  async #start(port: number, masterPort: number, settings: readonly string[]): Promise<void> {
    const path = join(this.#folder, `${port}.conf`);
    const quorum = Math.floor(this.ports.length / 2) + 1;
    const lines = [
      `port ${port}`,
      'bind 127.0.0.1',
      `dir ${this.#folder}`,
      `sentinel monitor pods 127.0.0.1 ${masterPort} ${quorum}`,
      'sentinel down-after-milliseconds pods 600',
      'sentinel failover-timeout pods 3000',
      ...settings,
    ];
    writeFileSync(path, lines.join('\n'), { mode: 0o600 });
    const child = spawn('redis-server', [path, '--sentinel'], { stdio: ['ignore', 'pipe', 'pipe'] });
    this.#children.push(child);
    let output = '';
    child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()));
    await until('the Sentinel watches', () => {
      if (child.exitCode !== null) throw new Error(`the Sentinel ended:\n${output}`);
      return output.includes('+monitor master');
    });
  }

  async dispose(): Promise<void> {
    for (const child of this.#children) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      const ended = once(child, 'exit');
      child.kill('SIGKILL');
      await ended;
    }
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
