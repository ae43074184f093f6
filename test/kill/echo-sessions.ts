import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { connect, type TLSSocket } from 'node:tls';

const EVERY_MS = 25;

/** One TLS session through the gateway to an echo pod: sends a counter and expects it back, until it is cut. */
class EchoSession {
  readonly socket: TLSSocket;
  isOpen = false;
  /** Kept, since a closed socket has forgotten it. */
  localPort = 0;
  exchanges = 0;
  cut: string | null = null;
  #expected = '';
  #timer: NodeJS.Timeout | null = null;

  constructor(options: { port: number; ca: string; servername: string }) {
    this.socket = connect({ host: '127.0.0.1', ...options });
    this.socket.on('secureConnect', () => {
      this.isOpen = true;
      this.localPort = this.socket.localPort ?? 0;
      this.#send();
    });
    this.socket.setEncoding('utf8').on('data', (text: string) => {
      if (!this.#expected.startsWith(text)) {
        this.close(`wrong bytes: ${text}`);
        return;
      }
      this.#expected = this.#expected.slice(text.length);
      if (this.#expected !== '') return;
      this.exchanges += 1;
      this.#timer = setTimeout(() => this.#send(), EVERY_MS);
    });
    this.socket.on('error', (error) => this.close(error.message));
    this.socket.on('close', () => this.close('closed'));
  }

  #send(): void {
    this.#expected = `${this.exchanges} of port ${this.localPort}\n`;
    this.socket.write(this.#expected);
  }

  close(why: string): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.cut ??= why;
    this.socket.destroy();
  }
}

/** Keeps a number of sessions open, and knows which worker carries each. */
export class EchoSessions {
  readonly #options: { port: number; ca: string; servername: string };
  readonly #count: number;
  #sessions: EchoSession[] = [];
  exchanges = 0;

  constructor(count: number, options: { port: number; ca: string; servername: string }) {
    this.#count = count;
    this.#options = options;
  }

  /** Opens what is missing and answers when all have exchanged something since now. */
  async fill(timeoutMs: number): Promise<void> {
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      this.#sessions = this.#sessions.filter((session) => {
        if (session.cut !== null) this.exchanges += session.exchanges;
        return session.cut === null;
      });
      while (this.#sessions.length < this.#count) this.#sessions.push(new EchoSession(this.#options));
      const before = this.#sessions.map((session) => session.exchanges);
      await new Promise((resolve) => setTimeout(resolve, 4 * EVERY_MS));
      if (this.#sessions.every((session, index) => session.cut === null && session.exchanges > (before[index] ?? 0)))
        return;
      if (performance.now() > deadline)
        throw new Error(`sessions do not come up: ${this.#sessions.map(({ cut }) => cut).join('; ')}`);
    }
  }

  /** Sessions that ended since the last call of `fill`, but not those of the processes `except`. */
  cutsOutside(carriers: ReadonlyMap<number, number>, except: readonly number[]): readonly string[] {
    return this.#sessions
      .filter((session) => session.cut !== null && session.isOpen)
      .filter((session) => !except.includes(carriers.get(session.localPort) ?? -1))
      .map((session) => session.cut ?? '');
  }

  /** By the client's port, the process that carries the session. */
  carriers(workerPids: readonly number[]): ReadonlyMap<number, number> {
    const inodes = socketInodes(this.#options.port);
    const carriers = new Map<number, number>();
    for (const pid of workerPids) {
      for (const inode of socketsOf(pid)) {
        const clientPort = inodes.get(inode);
        if (clientPort !== undefined) carriers.set(clientPort, pid);
      }
    }
    return carriers;
  }

  close(): void {
    for (const session of this.#sessions) session.close('the trial is over');
  }
}

/** Inode -> client port of the connections to this local port (proc_net_tcp: local, remote, ..., inode). */
function socketInodes(localPort: number): ReadonlyMap<string, number> {
  const inodes = new Map<string, number>();
  for (const line of readFileSync('/proc/net/tcp', 'utf8').split('\n').slice(1)) {
    const fields = line.trim().split(/\s+/);
    const port = (field: string | undefined) => parseInt(field?.split(':')[1] ?? '', 16);
    if (port(fields[1]) === localPort) inodes.set(fields[9] ?? '', port(fields[2]));
  }
  return inodes;
}

function socketsOf(pid: number): readonly string[] {
  try {
    return readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
      try {
        return /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`))?.[1] ?? [];
      } catch {
        return [];
      }
    });
  } catch {
    return [];
  }
}
