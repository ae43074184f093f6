/**
 * node bench/https-load.ts PORT HOST CONNECTIONS SECONDS, the CA in CA_FILE.
 * Keep-alive GETs, one at a time per connection, from a process of its own. Prints {"requests","seconds","latencies"}.
 */
import { readFileSync } from 'node:fs';
import { connect } from 'node:tls';
import { quantiles } from './measure.ts';

const [port = '', host = '', connections = '', seconds = ''] = process.argv.slice(2);
const ca = readFileSync(process.env['CA_FILE'] ?? '', 'utf8');
const GET = `GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`;
const latencies: number[] = [];
const started = performance.now();
const end = started + Number(seconds) * 1000;

await Promise.all(Array.from({ length: Number(connections) }, oneConnection));
console.log(
  JSON.stringify({
    requests: latencies.length,
    seconds: (performance.now() - started) / 1000,
    ...quantiles(latencies),
  }),
);

function oneConnection(): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port: Number(port), servername: host, ca });
    let sent = 0;
    let received: Buffer = Buffer.alloc(0);
    const send = () => {
      sent = performance.now();
      socket.write(GET);
    };
    socket.once('secureConnect', send);
    socket.on('error', reject);
    socket.on('close', resolve);
    socket.on('data', (chunk: Buffer) => {
      received = received.length === 0 ? chunk : Buffer.concat([received, chunk]);
      const head = received.indexOf('\r\n\r\n');
      if (head < 0) return;
      const length = /content-length: (\d+)/i.exec(received.toString('latin1', 0, head))?.[1];
      if (length === undefined || !received.subarray(0, 12).equals(Buffer.from('HTTP/1.1 200'))) {
        socket.destroy(new Error(`unexpected answer: ${received.toString('latin1', 0, head)}`));
        return;
      }
      if (received.length < head + 4 + Number(length)) return;
      received = Buffer.alloc(0);
      const now = performance.now();
      latencies.push(now - sent);
      if (now < end) send();
      else socket.end();
    });
  });
}
