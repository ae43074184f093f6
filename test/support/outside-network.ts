import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { until } from './until.ts';

/** Python, since it binds exactly what it is given: answers each request with who was reached. */
const SERVE = `
import http.server, json, socket, sys, threading
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do_GET(self):
        body = ('reached ' + self.server.name).encode()
        self.send_response(200); self.send_header('Content-Length', str(len(body))); self.end_headers(); self.wfile.write(body)
    def log_message(self, *args): pass
def serve(address, port):
    class Server(http.server.ThreadingHTTPServer):
        address_family = socket.AF_INET6 if ':' in address else socket.AF_INET
    server = Server((address, port), Handler)
    server.name = address
    threading.Thread(target=server.serve_forever).start()
for address, port in json.loads(sys.argv[1]): serve(address, port)
print('listening', flush=True)
`;

/** Of the networks of RFC 5737 and RFC 3849, unlike those of other test processes. */
const NUMBER = process.pid % 60;

/**
 * A host beyond this machine: a network namespace that a pair of interfaces connects to it. Needs root. All addresses are
 * those of documentation, private or link-local; their routes are on this machine for as long as the test runs.
 */
export class OutsideNetwork {
  /** Of the host outside. */
  readonly address = `203.0.113.${NUMBER * 4 + 2}`;
  readonly address6 = `2001:db8:${NUMBER}::2`;
  readonly privateAddress = `10.213.${NUMBER}.2`;
  readonly linkLocalAddress = `169.254.213.${NUMBER + 1}`;
  /** Of this machine, towards it. */
  readonly ownAddress = `203.0.113.${NUMBER * 4 + 1}`;
  readonly #name = `out${process.pid}`;
  #server: ChildProcess | null = null;

  /** Serves HTTP on these ports of each address. */
  static async open(ports: readonly number[]): Promise<OutsideNetwork> {
    const network = new OutsideNetwork();
    try {
      network.#connect();
      await network.#serve(ports);
    } catch (error) {
      network.close();
      throw error;
    }
    return network;
  }

  #connect(): void {
    const name = this.#name;
    const ip = (line: string): string => execFileSync('ip', line.split(' '), { encoding: 'utf8' });
    ip(`netns add ${name}`);
    ip(`link add ${name} type veth peer name eth0 netns ${name}`);
    ip(`-n ${name} link set lo up`);
    ip(`address add ${this.ownAddress}/30 dev ${name}`);
    ip(`-6 address add 2001:db8:${NUMBER}::1/64 dev ${name} nodad`);
    ip(`link set ${name} up`);
    ip(`-n ${name} address add ${this.address}/30 dev eth0`);
    ip(`-n ${name} -6 address add ${this.address6}/64 dev eth0 nodad`);
    ip(`-n ${name} link set eth0 up`);
    for (const address of [this.privateAddress, this.linkLocalAddress]) {
      ip(`-n ${name} address add ${address}/32 dev lo`);
      ip(`route add ${address}/32 via ${this.address} dev ${name}`);
    }
    ip(`-n ${name} route add default via ${this.ownAddress}`);
  }

  async #serve(ports: readonly number[]): Promise<void> {
    const addresses = [this.address, this.address6, this.privateAddress, this.linkLocalAddress];
    const listen = addresses.flatMap((address) => ports.map((port) => [address, port]));
    const args = ['netns', 'exec', this.#name, 'python3', '-c', SERVE, JSON.stringify(listen)];
    const server = spawn('ip', args, { stdio: ['ignore', 'pipe', 'inherit'] });
    this.#server = server;
    let output = '';
    server.stdout.setEncoding('utf8').on('data', (text: string) => (output += text));
    await until('the host outside listens', () => output.includes('listening'));
  }

  /** What a program of this machine itself gets there: that the network is really connected. */
  fetch(address: string, port: number): string {
    const host = address.includes(':') ? `[${address}]` : address;
    return execFileSync('curl', ['-sS', '--noproxy', '*', '--max-time', '10', `http://${host}:${port}/`], {
      encoding: 'utf8',
    });
  }

  close(): void {
    this.#server?.kill('SIGKILL');
    // Its interfaces and the routes through them go with it.
    for (const line of [`netns delete ${this.#name}`, `link delete ${this.#name}`]) {
      try {
        execFileSync('ip', line.split(' '), { stdio: 'ignore' });
      } catch {
        // Not made, or gone already.
      }
    }
  }
}
