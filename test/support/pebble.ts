import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePorts } from './free-ports.ts';
import { createTestAuthority } from './test-authority.ts';
import { until } from './until.ts';

/** On a machine that others slow down; it takes a tenth of a second otherwise. */
const START_MS = 40_000;

export interface PebbleOptions {
  /** `host:port` of the DNS server it asks; default: a challenge test server of its own, where every name is 127.0.0.1. */
  readonly dnsServer?: string;
  /** Key ids and HMAC keys (base64url) of external accounts; given: they are required. */
  readonly externalAccounts?: Readonly<Record<string, string>>;
  /** Days a certificate lives; default: Pebble's own five years. */
  readonly validityDays?: number;
  /** Roots beside the usual one, for alternate chains. */
  readonly alternateRoots?: number;
  /** Of 100 good nonces, so many are refused. */
  readonly rejectedNonces?: number;
  /** Of another version; default: the one on the PATH. */
  readonly program?: string;
  readonly httpPort?: number;
  readonly tlsPort?: number;
}

/** A real ACME server (Pebble) with its challenge test server, which plays the DNS. All on loopback. */
export class Pebble {
  readonly directoryUrl: string;
  /** The CA of the server's own certificate. */
  readonly ca: string;
  /** Where it looks for http-01 and tls-alpn-01 answers. */
  readonly httpPort: number;
  readonly tlsPort: number;
  readonly #managementPort: number;
  readonly #challengesPort: number;
  readonly #folder: string;
  readonly #options: PebbleOptions;
  readonly #dnsServer: string;
  #children: ChildProcess[] = [];
  output = '';

  private constructor(parts: {
    readonly options: PebbleOptions;
    readonly ports: readonly number[];
    readonly folder: string;
    readonly ca: string;
  }) {
    const [acme = 0, management = 0, http = 0, tls = 0, dns = 0, challenges = 0] = parts.ports;
    const { options } = parts;
    this.directoryUrl = `https://localhost:${acme}/dir`;
    this.ca = parts.ca;
    this.httpPort = options.httpPort ?? http;
    this.tlsPort = options.tlsPort ?? tls;
    this.#managementPort = management;
    this.#challengesPort = challenges;
    this.#dnsServer = options.dnsServer ?? `127.0.0.1:${dns}`;
    this.#folder = parts.folder;
    this.#options = options;
  }

  static async start(options: PebbleOptions = {}): Promise<Pebble> {
    const authority = await createTestAuthority(['localhost']);
    const folder = mkdtempSync(join(tmpdir(), 'podgate-pebble-'));
    const ports = await freePorts(6);
    const pebble = new Pebble({ options, ports, folder, ca: authority.ca });
    writeFileSync(join(folder, 'cert.pem'), authority.certificate);
    writeFileSync(join(folder, 'key.pem'), authority.key, { mode: 0o600 });
    const accounts = options.externalAccounts;
    const configuration = {
      listenAddress: `127.0.0.1:${ports[0]}`,
      managementListenAddress: `127.0.0.1:${ports[1]}`,
      certificate: join(folder, 'cert.pem'),
      privateKey: join(folder, 'key.pem'),
      httpPort: pebble.httpPort,
      tlsPort: pebble.tlsPort,
      externalAccountBindingRequired: accounts !== undefined,
      externalAccountMACKeys: accounts ?? {},
      ...(options.validityDays === undefined ? {} : { certificateValidityPeriod: options.validityDays * 86_400 }),
    };
    writeFileSync(join(folder, 'config.json'), JSON.stringify({ pebble: configuration }));
    await pebble.start();
    return pebble;
  }

  async start(): Promise<void> {
    const playsDns = this.#options.dnsServer === undefined;
    const environment = {
      PEBBLE_VA_NOSLEEP: '1',
      PEBBLE_AUTHZREUSE: '0',
      PEBBLE_WFE_NONCEREJECT: String(this.#options.rejectedNonces ?? 0),
      ...(this.#options.alternateRoots === undefined
        ? {}
        : { PEBBLE_ALTERNATE_ROOTS: String(this.#options.alternateRoots) }),
    };
    const run = (program: string, args: readonly string[]): ChildProcess => {
      const child = spawn(program, args, {
        env: { PATH: process.env['PATH'], ...environment },
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      const keep = (text: string) => (this.output = (this.output + text).slice(-200_000));
      child.stdout.setEncoding('utf8').on('data', keep);
      child.stderr.setEncoding('utf8').on('data', keep);
      this.#children.push(child);
      return child;
    };
    if (playsDns) {
      run('pebble-challtestsrv', [
        ...['-http01', '', '-https01', '', '-tlsalpn01', '', '-defaultIPv6', ''],
        ...['-dns01', this.#dnsServer, '-management', `127.0.0.1:${this.#challengesPort}`],
      ]);
    }
    const child = run(this.#options.program ?? 'pebble', [
      ...['-config', join(this.#folder, 'config.json'), '-strict', '-dnsserver', this.#dnsServer],
    ]);
    await until(
      'Pebble answers',
      async () => {
        if (child.exitCode !== null) throw new Error(`Pebble ended:\n${this.output}`);
        return (await this.roots()).includes('BEGIN CERTIFICATE');
      },
      { timeoutMs: START_MS },
    );
    if (playsDns) {
      await until('the challenge test server answers', () => this.#tell('clear-a', { host: 'nobody.test' }));
    }
  }

  /** Stops answering, and forgets everything. */
  async stop(): Promise<void> {
    const children = this.#children;
    this.#children = [];
    await Promise.all(
      children.map(async (child) => {
        if (child.exitCode !== null || child.signalCode !== null) return;
        const ended = once(child, 'exit');
        child.kill('SIGKILL');
        await ended;
      }),
    );
  }

  async dispose(): Promise<void> {
    await this.stop();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  /** What clients must trust: the root of the certificates it issues. New at every start. */
  root(): Promise<string> {
    return this.#manage('/roots/0');
  }
  roots(): Promise<string> {
    return this.#manage('/roots/0');
  }
  /** Of an alternate chain. */
  alternateRoot(index: number): Promise<string> {
    return this.#manage(`/roots/${index}`);
  }

  /** What the DNS says about a name from now on. */
  async setAddress(host: string, addresses: readonly string[]): Promise<void> {
    await this.#tell('clear-a', { host });
    await this.#tell('add-a', { host, addresses });
  }
  async setText(host: string, value: string): Promise<void> {
    await this.#tell('set-txt', { host: `${host}.`, value });
  }
  async clearText(host: string): Promise<void> {
    await this.#tell('clear-txt', { host: `${host}.` });
  }

  async #tell(command: string, body: object): Promise<boolean> {
    const answer = await fetch(`http://127.0.0.1:${this.#challengesPort}/${command}`, {
      method: 'POST',
      body: JSON.stringify(body),
    });
    if (!answer.ok) throw new Error(`challenge test server: ${answer.status} ${await answer.text()}`);
    return true;
  }

  #manage(path: string): Promise<string> {
    return new Promise((resolve, reject) => {
      const outgoing = request(
        `https://localhost:${this.#managementPort}${path}`,
        { ca: this.ca, agent: false },
        (incoming) => {
          let text = '';
          incoming.setEncoding('utf8').on('data', (piece: string) => (text += piece));
          incoming.on('end', () => resolve(text));
          incoming.on('error', reject);
        },
      );
      outgoing.on('error', reject);
      outgoing.end();
    });
  }
}
