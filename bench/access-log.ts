/**
 * node bench/access-log.ts [REQUESTS = 100000]
 * What it costs to note a request when it is over: counters and histograms alone, and with its line in a file, CPU of all
 * threads. Requests come fifty at a time.
 */
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { openAccessLogSink } from '../main/access-log-sink.ts';
import { systemClock } from '../main/system-clock.ts';
import type { Route } from '../core/route.ts';
import { createCounters } from '../proxy/telemetry/counters.ts';
import { createTelemetry, type LineSink } from '../proxy/telemetry/telemetry.ts';
import { silentLog } from '../test/support/silent-log.ts';
import { machine } from './measure.ts';
import { helpIfAsked } from '../scripts/help.ts';

helpIfAsked(import.meta.filename);

const requests = Number(process.argv[2] ?? 100_000);
const ROUNDS = 5;
const AT_ONCE = 50;
const PER_CONNECTION = 100;

const route: Route = {
  ...{ host: 'small.pods.localhost', tenant: 'dev', podId: 'small', uid: 'a-uid-of-36-letters', stanza: 'default' },
  ...{ protocol: 'http', status: 'RUNNING', backend: null, ipAllowList: [] },
} as const;
const tls = {
  version: 'TLSv1.3',
  cipher: 'TLS_AES_128_GCM_SHA256',
  alpn: 'http/1.1',
  isResumed: false,
  handshakeMs: 1.234,
};
const head = {
  method: 'GET',
  url: '/some/path/of/usual/length?with=query',
  rawHeaders: [
    'Host',
    'small.pods.localhost',
    'Accept',
    '*/*',
    'User-Agent',
    'Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101 Firefox/140.0',
  ],
};

async function cpuPerRequest(accessLog: LineSink | null): Promise<number> {
  const seen = createTelemetry({ worker: 0, counters: createCounters(), clock: systemClock, accessLog });
  const before = process.cpuUsage();
  let info = connection(0);
  for (let count = 0; count < requests; count++) {
    if (count % PER_CONNECTION === 0) info = connection(count);
    const request = seen.requestBegan(info, 'http/1.1');
    request.head = head;
    request.id = `${info.id}-${count}`;
    seen.requestRouted(request, route);
    request.status = 200;
    request.firstByteMs = request.beganMs + 1.5;
    request.bytesOut = 128;
    request.end = 'answered';
    seen.requestEnded(request);
    // A turn of the event loop, so that what is written gets away.
    if (count % AT_ONCE === 0) await delay(1);
  }
  const { user, system } = process.cpuUsage(before);
  return (user + system) / requests;
}

function connection(count: number) {
  return {
    id: `connection${count}`,
    remoteAddress: '192.0.2.7',
    remotePort: 4711,
    serverName: route.host,
    proof: null,
    tls,
  };
}

const dir = mkdtempSync(join(tmpdir(), 'podgate-access-log-'));
const file = join(dir, 'access.log');
const results = { off: [] as number[], file: [] as number[] };
const config = { to: 'file', file, maxFileBytes: 2 ** 40, keepFiles: 1 } as const;
let dropped = 0;
for (let round = 0; round < ROUNDS; round++) {
  results.off.push(await cpuPerRequest(null));
  const sink = openAccessLogSink({ config, rotates: false, log: silentLog });
  results.file.push(await cpuPerRequest(sink));
  await sink.close();
  dropped += sink.dropped;
}
const [off, on] = [Math.min(...results.off), Math.min(...results.file)];
console.log(machine());
console.log(
  `a request that is over: ${off.toFixed(2)} us CPU without the log, ${on.toFixed(2)} us with it (best of ${ROUNDS} rounds of ${requests}); ` +
    `${(statSync(file).size / requests / ROUNDS).toFixed(0)} bytes a line, ${dropped} dropped`,
);
rmSync(dir, { recursive: true });
