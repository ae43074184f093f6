import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Program } from '../support/program.ts';
import { run } from '../support/run.ts';

/** Counts what it is sent, and serves any part of a file of 3 GiB in which each 8 bytes say where they are. */
const BODIES_SERVER = `
const SIZE = 3 * 2 ** 30;
const server = require('node:http').createServer((request, response) => {
  if (request.method === 'PUT') {
    let bytes = 0;
    request.on('data', (chunk) => (bytes += chunk.length));
    request.on('end', () => response.end(String(bytes)));
    return;
  }
  const [, first, last] = /^bytes=(\\d+)-(\\d+)$/.exec(request.headers.range ?? '') ?? [];
  const [from, to] = first === undefined ? [0, SIZE - 1] : [Number(first), Number(last)];
  const range = first === undefined ? {} : { 'content-range': 'bytes ' + from + '-' + to + '/' + SIZE };
  response.writeHead(first === undefined ? 200 : 206, { 'content-length': to - from + 1, ...range });
  const part = (start) => {
    const buffer = Buffer.alloc(65536);
    for (let i = 0; i < buffer.length; i += 8) buffer.writeBigUInt64BE(BigInt(start + i), i);
    return buffer;
  };
  let at = from - (from % 8);
  const write = () => {
    while (at <= to) {
      const chunk = part(at);
      const cut = chunk.subarray(Math.max(0, from - at), Math.min(chunk.length, to + 1 - at));
      at += chunk.length;
      if (!response.write(cut)) return response.once('drain', write);
    }
    response.end();
  };
  write();
});
server.requestTimeout = 0;
server.listen(process.env.PORT, '127.0.0.1');
`;
const HOST = 'bodies.pods.localhost';
const GIB = 2 ** 30;
const TIMEOUT_MS = 240_000;

let program: Program;

beforeAll(async () => {
  program = await Program.start({ workers: 1 });
  await program.createPod({
    pod_id: 'bodies',
    pod_template: 'podgate/process',
    command: ['node', '-e', BODIES_SERVER],
  });
}, 120_000);
afterAll(async () => {
  await program.dispose();
});

/** A shell line with a curl that has our CA and the pod's name. */
function shell(line: string) {
  const resolve = `${HOST}:${program.httpsPort}:127.0.0.1`;
  const curl = `curl -sS --max-time 200 --cacert ${program.caPath} --resolve ${resolve}`;
  return run('/bin/bash', ['-o', 'pipefail', '-c', line.replaceAll('CURL', curl)], {
    env: { URL: `https://${HOST}:${program.httpsPort}/`, FILE: `${program.dataDir}/large` },
    timeoutMs: TIMEOUT_MS,
  });
}

/** MiB the one worker holds in memory. */
function workerMiB(): number {
  const [worker] = program.children('worker');
  const status = readFileSync(`/proc/${worker?.pid ?? 0}/status`, 'utf8');
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) / 1024;
}

/** The most that the worker holds while that runs, over what it held before. */
async function growthMiB<T>(work: () => Promise<T>): Promise<{ readonly value: T; readonly growth: number }> {
  const before = workerMiB();
  let most = before;
  const look = setInterval(() => (most = Math.max(most, workerMiB())), 50);
  try {
    return { value: await work(), growth: most - before };
  } finally {
    clearInterval(look);
  }
}

/** Buffers on their way and garbage not yet collected; a body held back would be as long as it is. */
const GROWTH_MAX_MIB = 200;

test.each(['--http1.1', '--http2'])(
  '2 GiB up, 256 MiB without a length, and 512 MiB down, in flat memory (curl %s)',
  async (version) => {
    const sized = await growthMiB(() => shell(`truncate -s 2G $FILE && CURL ${version} -T $FILE $URL`));
    expect([sized.value.stdout, sized.value.stderr]).toEqual([String(2 * GIB), '']);
    const chunked = await growthMiB(() => shell(`head -c 256M /dev/zero | CURL ${version} -T - $URL`));
    expect([chunked.value.stdout, chunked.value.stderr]).toEqual([String(GIB / 4), '']);
    const down = await growthMiB(() => shell(`CURL ${version} -r 0-${GIB / 2 - 1} $URL | wc -c`));
    expect([down.value.stdout.trim(), down.value.stderr]).toEqual([String(GIB / 2), '']);
    console.info(
      `curl ${version}: ${[sized, chunked, down].map(({ growth }) => Math.round(growth)).join(', ')} MiB more`,
    );
    for (const { growth } of [sized, chunked, down]) expect(growth).toBeLessThan(GROWTH_MAX_MIB);
  },
  TIMEOUT_MS,
);

test('a range beyond 2 GiB of a file is exactly that range', async () => {
  const from = 2 * GIB + 1024;
  const part = await shell(
    `CURL -w '%{stderr}%{http_code} %header{content-range}' -r ${from}-${from + 15} $URL | xxd -p`,
  );
  const words = [from, from + 8].map((at) => at.toString(16).padStart(16, '0')).join('');
  expect([part.stdout.trim(), part.stderr]).toEqual([words, `206 bytes ${from}-${from + 15}/${3 * GIB}`]);
});
