import { describe, expect, it } from 'vitest';
import { takeEndpointOption } from '../../../proxy/protocols/postgres/endpoint-option.ts';
import { parseNamedStartup } from '../../../proxy/protocols/postgres/named-startup.ts';
import { asksWhetherReady, parseStartupParameters } from '../../../proxy/protocols/postgres/startup-parameters.ts';
import { describeUnnamed, needsServerName } from '../../../proxy/protocols/postgres/unnamed.ts';
import { Chance } from '../../sim/scheduler.ts';
import { Fuzz, SEED } from './fuzz.ts';

/** A million take half a minute: PODGATE_FUZZ_CASES=1000000 npx vitest run test/unit/proxy/postgres-endpoint.test.ts */
const CASES = Number(process.env['PODGATE_FUZZ_CASES'] ?? 30_000);
const HOST = 'mypg.pods.localhost';
const TABLE = new Set([HOST, 'mypg.pods.localhost.example', 'other.pods.localhost']);
const isPostgres = (host: string): boolean => TABLE.has(host);

type Pairs = readonly (readonly [string, string])[];

function startup(pairs: Pairs, version = 0x30000): Buffer {
  const text = pairs.map(([name, value]) => `${name}\0${value}\0`).join('');
  const bytes = Buffer.concat([Buffer.alloc(8), Buffer.from(`${text}\0`, 'latin1')]);
  bytes.writeUInt32BE(bytes.length, 0);
  bytes.writeUInt32BE(version, 4);
  return bytes;
}

const named = (pairs: Pairs) => parseNamedStartup(startup(pairs), isPostgres);
const matched = (pairs: Pairs, host: string, left: Pairs) => {
  const length = startup(pairs).length;
  expect(named(pairs)).toEqual({ kind: 'match', value: { host, length, packet: startup(left) } });
};
const withOptions = (options: string): Pairs => [
  ['user', 'alice'],
  ['options', options],
];

describe('an endpoint in options', () => {
  it.each([
    [`-c endpoint=${HOST}`],
    [`-cendpoint=${HOST}`],
    [`--endpoint=${HOST}`],
    [`  -c   endpoint=${HOST}  `],
    [`\t-c\n\vendpoint=${HOST}\f\r`],
    [`-c endpoint=${HOST.toUpperCase()}.`],
    [`-c end\\point=my\\pg.pods.localhost`],
    [`-c\\ endpoint=${HOST}`.replace('\\ ', '')],
  ])('is read from %j, and options are then empty', (options) => {
    matched(withOptions(options), HOST, [['user', 'alice']]);
  });

  it.each([
    [`-c endpoint=${HOST} -c geqo=off`, '-c geqo=off'],
    [`-c geqo=off --endpoint=${HOST} -c  search_path=a\\ `, '-c geqo=off -c  search_path=a\\ '],
    [`-c geqo=off -cendpoint=${HOST}`, '-c geqo=off '],
    [`--search_path=a\\ b\\\\ -c endpoint=${HOST} -c x=\xa0`, '--search_path=a\\ b\\\\ -c x=\xa0'],
    [`-c -c -c endpoint=${HOST}`, '-c -c '],
  ])('is removed from %j, and every other character remains', (options, rest) => {
    matched(withOptions(options), HOST, withOptions(rest));
  });

  it.each([
    '',
    ' ',
    '-c',
    '-c geqo=off',
    `endpoint=${HOST}`,
    `-c -c endpoint=${HOST}`,
    `-c "endpoint=${HOST}"`,
    `-c\\ endpoint=${HOST}`,
    `-c x=endpoint=${HOST}`,
    `-d endpoint=${HOST}`,
    `- endpoint=${HOST}`,
    `-c ENDPOINT=${HOST}`,
    '\\',
  ])('is not in %j', (options) => {
    expect(takeEndpointOption(options)).toEqual({ endpoints: [], rest: options });
    expect(named(withOptions(options))).toEqual({ kind: 'reject', reason: 'not-named' });
  });

  it('is one host name', () => {
    expect(named(withOptions(`-c endpoint=${HOST} -c endpoint=${HOST}`))).toMatchObject({ reason: 'named-twice' });
    for (const name of ['', '-', 'a b'.replace(' ', '\\ '), 'ä', 'a'.repeat(254), `${HOST}:5432`, '*.pods']) {
      expect(named(withOptions(`-c endpoint=${name}`))).toMatchObject({ reason: 'no-host-name' });
    }
  });

  it('is accepted for an unknown pod, so that the refusal can name it', () => {
    matched(withOptions('-c endpoint=nobody.pods.localhost'), 'nobody.pods.localhost', [['user', 'alice']]);
  });

  it('takes precedence over a name in the user, which is then unchanged', () => {
    const user = ['user', `other.pods.localhost.alice`] as const;
    matched([user, ['options', `-c endpoint=${HOST}`]], HOST, [user]);
  });
});

describe('a name in the user', () => {
  it.each([
    [`${HOST}.alice`, HOST, 'alice'],
    [`MyPg.Pods.LocalHost.Alice`, HOST, 'Alice'],
    [`${HOST}.first.last`, HOST, 'first.last'],
    [`${HOST}.`.concat('gr\xc3\xb6\xc3\x9fe'), HOST, 'gr\xc3\xb6\xc3\x9fe'],
    // The longest name that is one.
    [`${HOST}.example.alice`, `${HOST}.example`, 'alice'],
    [`${HOST}.example`, HOST, 'example'],
    [`${HOST}..alice`, HOST, 'alice'],
  ])('is read from %s', (user, host, own) => {
    matched([['user', user]], host, [['user', own]]);
  });

  it('is removed from the database too if libpq has copied the user there; nothing else changes', () => {
    const user = `${HOST}.alice`;
    const others: Pairs = [
      ['application_name', user],
      ['options', '-c geqo=off '],
      ['_pq_.x', '\xff\xfe'],
      ['database', `${user}x`],
    ];
    matched(
      [
        ['database', user],
        ['user', user],
      ],
      HOST,
      [
        ['database', 'alice'],
        ['user', 'alice'],
      ],
    );
    matched([...others, ['user', user]], HOST, [...others, ['user', 'alice']]);
  });

  it.each([
    ['alice', 'not-named'],
    ['first.last', 'not-named'],
    ['', 'not-named'],
    ['.', 'not-named'],
    [HOST, 'not-named'],
    [`${HOST}.`, 'unknown-in-user'],
    ['nobody.pods.localhost.alice', 'unknown-in-user'],
    ['.'.repeat(9_000), 'unknown-in-user'],
    [`${'a.'.repeat(4_000)}alice`, 'unknown-in-user'],
  ])('is not in %s', (user, reason) => {
    expect(named([['user', user]])).toEqual({ kind: 'reject', reason });
  });

  it('costs a limited number of table lookups', () => {
    let looks = 0;
    parseNamedStartup(startup([['user', 'a.'.repeat(4_900)]]), () => ++looks < 0);
    expect(looks).toBeLessThanOrEqual(128);
  });
});

describe('parseNamedStartup', () => {
  it('keeps the protocol version, and does not count bytes after the packet', () => {
    const bytes = startup(withOptions(`-c endpoint=${HOST}`), 0x30002);
    const parsed = parseNamedStartup(Buffer.concat([bytes, Buffer.from('more')]), isPostgres);
    const packet = startup([['user', 'alice']], 0x30002);
    expect(parsed).toEqual({ kind: 'match', value: { host: HOST, length: bytes.length, packet } });
  });

  it('needs the whole packet, at every split', () => {
    for (const bytes of [startup(withOptions(`-c endpoint=${HOST}`)), startup([['user', `${HOST}.alice`]])]) {
      for (let length = 0; length < bytes.length; length++) {
        const atLeast = length < 8 ? 8 : bytes.length;
        expect(parseNamedStartup(bytes.subarray(0, length), isPostgres)).toEqual({ kind: 'need-more', atLeast });
      }
    }
  });

  it.each([
    [
      'two users',
      [
        ['user', 'a'],
        ['user', `${HOST}.alice`],
      ],
    ],
    ['no user', [['options', `-c endpoint=${HOST}`]]],
    ['options twice', [...withOptions('-c a=b'), ['options', `-c endpoint=${HOST}`]]],
  ] as const satisfies readonly (readonly [string, Pairs])[])('refuses %s', (_what, pairs) => {
    expect(named(pairs)).toEqual({ kind: 'reject', reason: 'malformed' });
  });

  it.each([
    ['a CancelRequest', Buffer.from('0000001004d2162e0000000100000002', 'hex')],
    ['no terminator', Buffer.from('\0\0\0\x10\0\x03\0\0user\0a\0b', 'latin1')],
    ['a value cut short', Buffer.from('\0\0\0\x0e\0\x03\0\0user\0a', 'latin1')],
    ['a name cut short', Buffer.from('\0\0\0\x0c\0\x03\0\0user', 'latin1')],
    ['bytes behind the terminator', Buffer.from('\0\0\0\x12\0\x03\0\0user\0a\0\0b\0', 'latin1')],
    ['no parameters, and no terminator', Buffer.from('\0\0\0\x09\0\x03\0\0x', 'latin1')],
    ['a value that ends behind the packet', Buffer.from('\0\0\0\x0e\0\x03\0\0user\0abc\0\0', 'latin1')],
  ])('refuses %s', (_what, bytes) => {
    expect(parseNamedStartup(bytes, isPostgres)).toEqual({ kind: 'reject', reason: 'malformed' });
  });

  it(`never throws, and removes only the name (seed ${SEED})`, { timeout: 600_000 }, () => {
    const fuzz = new Fuzz();
    const chance = new Chance(SEED);
    const words = [
      '-c',
      '--',
      ' ',
      '\\',
      '\t',
      'endpoint=',
      HOST,
      '.',
      'geqo=off',
      '-cendpoint=',
      'alice',
      '\xa0',
      '=',
    ];
    const text = (): string => Array.from({ length: chance.below(9) }, () => chance.pick(words)).join('');
    let matches = 0;
    for (let round = 0; round < CASES; round++) {
      const valid = startup(
        [
          ['options', text()],
          ['user', chance.isHit(0.5) ? `${HOST}.${text()}` : text()],
          ['database', text()],
        ].filter(() => chance.isHit(0.8)) as unknown as Pairs,
      );
      const bytes = round % 3 === 0 ? fuzz.damaged(valid) : round % 3 === 1 ? valid : fuzz.bytes(chance.below(60));
      const parsed = parseNamedStartup(bytes, isPostgres);
      if (parsed.kind === 'need-more' && parsed.atLeast <= bytes.length) expect.fail(bytes.toString('hex'));
      if (parsed.kind !== 'match') continue;
      matches++;
      const { packet, length } = parsed.value;
      const [before, after] = [bytes.subarray(0, length), packet].map((one) => parseStartupParameters(one));
      if (before?.kind !== 'match' || after?.kind !== 'match') expect.fail(bytes.toString('hex'));
      else {
        const untouched = ({ name }: { name: string }) => !['options', 'user', 'database'].includes(name);
        if (after.value.length !== packet.length || packet.length >= length) expect.fail(bytes.toString('hex'));
        expect(after.value.parameters.filter(untouched)).toEqual(before.value.parameters.filter(untouched));
        const rest = after.value.parameters.find(({ name }) => name === 'options')?.value ?? '';
        const original = before.value.parameters.find(({ name }) => name === 'options')?.value ?? '';
        expect(wordsOf(rest)).toEqual(withoutEndpoint(wordsOf(original)));
      }
    }
    expect(matches).toBeGreaterThan(CASES / 100);
  });
});

/** As the server's own code does it, character by character. */
function wordsOf(options: string): readonly string[] {
  const words: string[] = [];
  let word: string | null = null;
  let isEscaped = false;
  for (const character of options) {
    if (isEscaped || !' \t\n\v\f\r'.includes(character)) {
      if (character === '\\' && !isEscaped) {
        word ??= '';
        isEscaped = true;
        continue;
      }
      word = (word ?? '') + character;
      isEscaped = false;
    } else if (word !== null) {
      words.push(word);
      word = null;
    }
  }
  if (word !== null) words.push(word);
  return words;
}

function withoutEndpoint(words: readonly string[]): readonly string[] {
  const left: string[] = [];
  for (let index = 0; index < words.length; index++) {
    const word = words[index] ?? '';
    const value = words[index + 1];
    if (word === '-c' && value !== undefined) {
      if (!value.startsWith('endpoint=')) left.push(word, value);
      index++;
    } else if (!/^(-c|--)endpoint=/.test(word)) left.push(word);
  }
  return left;
}

describe('errors that a client gets for a rejected startup', () => {
  it.each(['not-named', 'unknown-in-user', 'named-twice', 'no-host-name'] as const)('explains %s', (reason) => {
    const { message, hint } = describeUnnamed(reason);
    expect(message).toMatch(/\.$/);
    expect(hint).toContain("options='-c endpoint=<host name>'");
  });

  it('lists what a pod needs that the StartupMessage cannot provide', () => {
    const route = {
      host: HOST,
      tenant: 'dev',
      podId: 'mypg',
      uid: 'uid',
      stanza: 'default',
      protocol: 'postgres',
      status: 'RUNNING',
      backend: null,
      ipAllowList: [],
    } as const;
    expect(needsServerName(route)).toBeNull();
    expect(needsServerName({ ...route, tls: 'passthrough' })?.message).toContain('terminates TLS itself');
    expect(needsServerName({ ...route, clientCa: 'PEM' })?.message).toContain('client certificates');
  });
});

describe('asksWhetherReady', () => {
  it.each([
    ['pg_isready', true],
    ['psql', false],
    ['', false],
  ])('is of %j: %s', (name, expected) => {
    const parsed = parseStartupParameters(
      startup([
        ['user', 'pg_isready'],
        ['application_name', name],
      ]),
    );
    expect(parsed.kind === 'match' && asksWhetherReady(parsed.value)).toBe(expected);
  });
});
