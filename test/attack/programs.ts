/** Programs that pods run in the attacks: of bystanders, of victims, and hostile ones. */

const node = (source: string): readonly string[] => ['node', '-e', source];
const python = (source: string): readonly string[] => ['python3', '-c', source];

export const ECHO = node(
  "require('node:net').createServer((s) => s.on('error', () => {}).pipe(s)).listen(process.env.PORT, '127.0.0.1')",
);

/** Echoes, and never closes its side: neither at FIN nor on its own. */
export const ECHO_WITHOUT_END = node(
  "require('node:net').createServer({ allowHalfOpen: true }, (s) => s.on('error', () => {}).on('data', (d) => s.write(d))).listen(process.env.PORT, '127.0.0.1')",
);

/** An HTTP server that upgrades to WebSocket, echoes nothing, and leaves upgraded sockets half open (Node's default). */
export const WEBSOCKET_WITHOUT_END = node(`
const server = require('node:http').createServer((q, s) => s.end('ok'));
server.on('upgrade', (q, s) => { s.on('error', () => {}); s.resume();
  s.write('HTTP/1.1 101 Switching Protocols\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\n\\r\\n'); });
server.listen(process.env.PORT, '127.0.0.1');`);

/** Serves 16 MiB at /large, and reads bodies at /sink. */
export const LARGE = node(`
const block = Buffer.alloc(1 << 20, 120);
require('node:http').createServer((q, s) => {
  if (q.url !== '/large') { q.resume().on('end', () => s.end('ok')); return; }
  s.writeHead(200, { 'content-length': 16 << 20 });
  for (let i = 0; i < 16; i += 1) s.write(block);
  s.end();
}).listen(process.env.PORT, '127.0.0.1');`);

/** Prints 10 MB of control characters, the largest log once it is JSON. */
export const LOUD = python(`
import os, sys, threading, http.server, time
serve = lambda: http.server.HTTPServer(('127.0.0.1', int(os.environ['PORT'])), http.server.BaseHTTPRequestHandler).serve_forever()
threading.Thread(target=serve, daemon=True).start()
for i in range(2):
    sys.stdout.write((chr(1) * 999 + chr(10)) * 4900); sys.stdout.flush(); time.sleep(1.2)
time.sleep(600)`);

/** Prints as fast as it can. */
export const FLOODING_LOG = python(`
import os, threading, http.server
serve = lambda: http.server.HTTPServer(('127.0.0.1', int(os.environ['PORT'])), http.server.BaseHTTPRequestHandler).serve_forever()
threading.Thread(target=serve, daemon=True).start()
line = b'x' * 65535 + b'\\n'
while True: os.write(1, line)`);

/** Responds `genuine`; /close closes its listener, /crash ends it. */
export const VICTIM = python(`
import os, http.server, threading, time
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == '/crash': os._exit(3)
        self.send_response(200); self.send_header('Content-Length', '7'); self.end_headers(); self.wfile.write(b'genuine')
        if self.path == '/close': threading.Thread(target=server.socket.close).start()
    def log_message(self, *x): pass
server = http.server.ThreadingHTTPServer(('127.0.0.1', int(os.environ['PORT'])), H)
try: server.serve_forever()
except Exception: pass
time.sleep(600)`);

/** Takes port \`port\` of any address as soon as it is free, and responds \`STOLEN\` to whoever connects. */
export const portThief = (port: number): readonly string[] =>
  python(`
import socket, os, time, threading, http.server
serve = lambda: http.server.HTTPServer(('127.0.0.1', int(os.environ['PORT'])), http.server.BaseHTTPRequestHandler).serve_forever()
threading.Thread(target=serve, daemon=True).start()
def steal(family, address):
    while True:
        s = socket.socket(family); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6: s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try: s.bind((address, ${port})); s.listen(64)
        except OSError: s.close(); time.sleep(0.0005); continue
        while True:
            c, _ = s.accept(); c.settimeout(1)
            try: d = c.recv(4096); c.sendall(b'HTTP/1.1 200 OK\\r\\nContent-Length: 6\\r\\nConnection: close\\r\\n\\r\\nSTOLEN')
            except Exception: d = b''
            if b'secret' in d: print('STOLE', flush=True)
            c.close()
threading.Thread(target=steal, args=(socket.AF_INET6, '::'), daemon=True).start()
steal(socket.AF_INET, '127.0.0.1')`);

/** Tries what a pod must not reach; prints \`REACHED name\` for each that it did, and \`tried N\` at the end. */
export const intruder = (options: {
  readonly ports: Readonly<Record<string, number>>;
  readonly files: readonly string[];
}): readonly string[] =>
  python(`
import json, os, socket, threading, http.server, time
inherited = [(fd, os.readlink(f'/proc/self/fd/{fd}')) for fd in os.listdir('/proc/self/fd') if int(fd) > 2 and os.path.exists(f'/proc/self/fd/{fd}')]
serve = lambda: http.server.HTTPServer(('127.0.0.1', int(os.environ['PORT'])), http.server.BaseHTTPRequestHandler).serve_forever()
threading.Thread(target=serve, daemon=True).start()
ports, files = json.loads(${JSON.stringify(JSON.stringify(options.ports))}), json.loads(${JSON.stringify(JSON.stringify(options.files))})
reached = lambda what: print('REACHED', what, flush=True)
gateway = os.popen("ip route 2>/dev/null | awk '/default/ {print $3}'").read().strip()
tried = 0
for name, port in ports.items():
    for address in ['127.0.0.1', '::1'] + ([gateway] if gateway else []):
        tried += 1
        try:
            with socket.create_connection((address, port), 2): reached(f'{name} at {address}')
        except OSError: pass
for path in files:
    tried += 1
    try: open(path, 'rb').read(1); reached(path)
    except OSError: pass
me = os.getuid()
for pid in filter(str.isdigit, os.listdir('/proc')):
    tried += 1
    try:
        if os.stat(f'/proc/{pid}').st_uid == me: continue
        os.kill(int(pid), 0); reached(f'a signal to process {pid}')
    except OSError: pass
    try: open(f'/proc/{pid}/environ', 'rb').read(1); reached(f'the environment of process {pid}')
    except OSError: pass
for fd, target in inherited:
    if not target.startswith('/proc'): reached(f'descriptor {fd}, {target}')
print('tried', tried, flush=True)
time.sleep(600)`);

/** Takes memory until it is stopped. */
export const MEMORY_HOG = python(`
import os, threading, http.server, time
serve = lambda: http.server.HTTPServer(('127.0.0.1', int(os.environ['PORT'])), http.server.BaseHTTPRequestHandler).serve_forever()
threading.Thread(target=serve, daemon=True).start()
time.sleep(1)
held = []
for i in range(64):
    held.append(bytearray(os.urandom(1 << 20) * 64)); print('holds', len(held) * 64, 'MiB', flush=True)
time.sleep(600)`);

/** Sets a cookie for every domain above its own. */
export const COOKIE_SETTER = node(`
require('node:http').createServer((q, s) => {
  s.setHeader('set-cookie', ['a=1; Domain=localhost; Path=/', 'b=2; path=/;domain=.pods.localhost', 'c=3; DOMAIN = "pods.localhost"', 'd=4; Path=/']);
  s.end('ok');
}).listen(process.env.PORT, '127.0.0.1');`);

/** Opens so many connections to its way out and keeps them; prints `opened N`. */
export const DOOR_FLOOD = (count: number): readonly string[] =>
  node(`
const net = require('node:net');
require('node:http').createServer((q, s) => s.end('ok')).listen(process.env.PORT, '127.0.0.1');
const heads = ['CONNECT a', 'CONNECT nowhere' + Math.random() + '.test:443 HTTP/1.1\\r\\n\\r\\n', 'CONNECT 198.51.100.1:443 HTTP/1.1\\r\\n\\r\\n'];
let opened = 0;
const open = (at) => {
  if (at === ${count}) { console.log('opened', opened); return; }
  const socket = net.connect(3128, '127.0.0.1', () => { opened += 1; socket.write(heads[at % 3]); });
  socket.on('error', () => undefined);
  if (at % 50 === 0) setTimeout(open, 20, at + 1); else setImmediate(open, at + 1);
};
open(0);
setInterval(() => undefined, 60_000);`);
