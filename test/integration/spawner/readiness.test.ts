import { connect as connectTo, createServer, type AddressInfo, type Server } from 'node:net';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { NetworkAddress } from '../../../core/pod-network.ts';
import { judgeBoltAnswers, probeBoltLogin } from '../../../spawner/orchestrator/process/bolt-probe.ts';
import { watchPorts } from '../../../spawner/orchestrator/process/readiness.ts';
import { until } from '../../support/until.ts';

const connect = ({ address, port: at }: NetworkAddress) => connectTo(at, address);

let server: Server;
let port: number;
/** A Bolt server that agrees on 5.4 and says no more. */
beforeEach(async () => {
  server = createServer((socket) => {
    socket.on('error', () => undefined).once('data', () => socket.write(Buffer.from([0, 0, 4, 5])));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  port = (server.address() as AddressInfo).port;
});
afterEach(() => server.close());

test('a pod that accepts handshakes is ready once its user can log in, and an unknown server never gets the password', async () => {
  const stop = new AbortController();
  const answered: string[] = [];
  const asked: number[] = [];
  let isOwned = false;
  let isIn = false;
  let strangers = 0;
  const watching = watchPorts({
    ports: [{ stanza: 'default', port }],
    readiness: { kind: 'bolt', stanza: 'default' },
    connect,
    isOwned: () => Promise.resolve(isOwned),
    letsIn: ({ place }) => {
      asked.push(place.port);
      return Promise.resolve(isIn);
    },
    answers: (stanza) => answered.push(stanza),
    strange: () => strangers++,
    signal: stop.signal,
  });
  await until('a stranger was seen twice', () => strangers >= 2);
  expect(asked).toEqual([]);
  isOwned = true;
  await until('it was asked twice', () => asked.length >= 2);
  expect(answered).toEqual([]);
  isIn = true;
  await watching;
  expect(answered).toEqual(['default']);
});

test('a server that accepts the handshake and then stays silent is asked no longer than the caller wants', async () => {
  const stop = new AbortController();
  const probing = probeBoltLogin(
    { connect, place: { address: '127.0.0.1', port } },
    { username: 'neo4j', password: 'secret' },
    stop.signal,
  );
  await until('it is connected', async () => {
    const count = await new Promise<number>((resolve) => server.getConnections((_error, all) => resolve(all)));
    return count === 1;
  });
  stop.abort();
  expect(await probing).toBe('unavailable');
});

const chunk = (hex: string): Buffer => {
  const body = Buffer.from(hex, 'hex');
  return Buffer.concat([Buffer.from([0, body.length]), body, Buffer.from([0, 0])]);
};
const SUCCESS = chunk('b170a0');
const failure = (code: string): Buffer =>
  chunk(
    Buffer.concat([Buffer.from('b17fa184636f6465d0', 'hex'), Buffer.from([code.length]), Buffer.from(code)]).toString(
      'hex',
    ),
  );

test.each([
  ['a result', [SUCCESS, SUCCESS, SUCCESS, chunk('b1719101')], 'result'],
  ['a keep-alive between two answers', [SUCCESS, Buffer.from([0, 0]), chunk('b1719101')], 'result'],
  ['a password that was changed', [SUCCESS, failure('Neo.ClientError.Security.Unauthorized')], 'refused'],
  [
    'a database that starts',
    [SUCCESS, SUCCESS, failure('Neo.TransientError.Database.DatabaseUnavailable')],
    'unavailable',
  ],
  ['a database not there yet', [SUCCESS, SUCCESS, failure('Neo.ClientError.Database.DatabaseNotFound')], 'unavailable'],
  ['a login alone', [SUCCESS, SUCCESS], null],
  ['no Bolt', [chunk('b10100')], 'unavailable'],
] as const)('%s is distinguished from the others, with any split of its bytes', (_what, answers, verdict) => {
  const bytes = Buffer.concat(answers);
  expect(judgeBoltAnswers(bytes)).toBe(verdict);
  // No byte less is enough, and none throws.
  for (let end = 0; end < bytes.length - 2; end++) expect(judgeBoltAnswers(bytes.subarray(0, end))).toBeNull();
});
