import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { Resolver } from 'node:dns/promises';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePorts } from './free-ports.ts';
import { until } from './until.ts';

export interface BindOptions {
  /** By zone: further lines of its file. */
  readonly zones: Readonly<Record<string, string>>;
  /** Of another server, so that one key is known at both. */
  readonly secret?: string;
}

/** A real name server (BIND's named) on a port of 127.0.0.1, whose zones take updates signed with the key `podgate`. */
export class Bind {
  readonly folder: string;
  readonly port: number;
  /** In base64. */
  readonly secret: string;
  readonly #child: ChildProcess;
  output = '';

  private constructor(folder: string, port: number, secret: string, child: ChildProcess) {
    this.folder = folder;
    this.port = port;
    this.secret = secret;
    this.#child = child;
    const keep = (text: string): void => void (this.output = (this.output + text).slice(-20_000));
    child.stdout?.setEncoding('utf8').on('data', keep);
    child.stderr?.setEncoding('utf8').on('data', keep);
  }

  static async start({ zones, secret = randomBytes(32).toString('base64') }: BindOptions): Promise<Bind> {
    const folder = mkdtempSync(join(tmpdir(), 'podgate-bind-'));
    const [port = 0] = await freePorts(1);
    const key = `key "podgate" { algorithm hmac-sha256; secret "${secret}"; };\n`;
    writeFileSync(join(folder, 'podgate.key'), key, { mode: 0o600 });
    // With a root of its own it never asks anybody else: what is in no zone does not exist.
    for (const [zone, lines] of Object.entries({ ...zones, '.': '' })) {
      writeFileSync(
        join(folder, `${zone}.zone`),
        `$TTL 60\n@ SOA ns hostmaster 1 3600 600 86400 60\n@ NS ns\nns A 127.0.0.1\n@ A 127.0.0.1\n${lines}\n`,
      );
    }
    const zoneOf = (zone: string): string =>
      `zone "${zone}" { type primary; file "${zone}.zone"; allow-update { key podgate; }; };\n`;
    writeFileSync(
      join(folder, 'named.conf'),
      `options { directory "${folder}"; listen-on port ${port} { 127.0.0.1; }; listen-on-v6 { none; };
  pid-file none; session-keyfile none; recursion yes; dnssec-validation no; };
zone "." { type primary; file "..zone"; };
controls { };
${key}${Object.keys(zones).map(zoneOf).join('')}`,
    );
    const child = spawn('named', ['-g', '-c', join(folder, 'named.conf')], { stdio: ['ignore', 'pipe', 'pipe'] });
    const bind = new Bind(folder, port, secret, child);
    const [zone = ''] = Object.keys(zones);
    await until('named answers', async () => {
      if (child.exitCode !== null) throw new Error(`named ended:\n${bind.output}`);
      return (await bind.#resolver().resolveSoa(zone)).nsname !== '';
    }).catch((error: unknown) => {
      throw new Error(bind.output, { cause: error });
    });
    return bind;
  }

  get address(): string {
    return `127.0.0.1:${this.port}`;
  }

  async texts(name: string): Promise<readonly string[]> {
    return (
      await this.#resolver()
        .resolveTxt(name)
        .catch(() => [])
    ).map((pieces) => pieces.join(''));
  }

  #resolver(): Resolver {
    const resolver = new Resolver({ timeout: 1_000, tries: 2 });
    resolver.setServers([this.address]);
    return resolver;
  }

  async dispose(): Promise<void> {
    if (this.#child.exitCode === null) {
      const ended = new Promise((resolve) => this.#child.once('close', resolve));
      this.#child.kill('SIGKILL');
      await ended;
    }
    rmSync(this.folder, { recursive: true, force: true });
  }
}
