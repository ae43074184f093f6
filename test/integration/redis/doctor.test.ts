import { afterEach, describe, expect, it } from 'vitest';
import { examineRedis } from '../../../control/store/redis/examine-redis.ts';
import type { Finding } from '../../../core/finding.ts';
import { systemClock } from '../../../main/system-clock.ts';
import { RedisSentinels } from '../../support/redis-sentinels.ts';
import { createTestAuthority } from '../../support/test-authority.ts';
import { RedisServer, type RedisServerOptions } from '../../support/redis-server.ts';
import { SITE } from './redis-stage.ts';

describe('podgate doctor and Redis', () => {
  let server: RedisServer | null = null;
  afterEach(async () => {
    await server?.dispose();
    server = null;
  });

  async function examine(url: string, byMs = 0, ca: string | null = null): Promise<readonly string[]> {
    const clock = { ...systemClock, now: () => Date.now() + byMs };
    const findings: Finding[] = [];
    for await (const finding of examineRedis({ url, ca, site: SITE, clock })) findings.push(finding);
    return findings.map(({ level, subject, message }) => `${level} ${subject}: ${message}`);
  }
  async function start(settings: RedisServerOptions['settings']): Promise<string> {
    server = await RedisServer.start({ settings: settings ?? [] });
    return server.url;
  }

  it('accepts one that is set up as deploy/ does', async () => {
    const url = await start(['maxmemory 1gb']);
    const [first, memory, ...rest] = await examine(url);
    const others = rest.filter((line) => !line.startsWith('ok Redis '));
    expect(rest).toContain(
      'ok Redis append-only file: It has been on since the server started, so the configuration file has it.',
    );
    expect(first).toMatch(
      /^ok Redis: Version \d+\.\d+\.\d+ at redis:\/\/127\.0\.0\.1:\d+: it writes to disk before it acknowledges/,
    );
    expect(memory).toBe('ok Redis memory: 0 % of maxmemory (1024 MiB) are in use.');
    // How long it takes to answer is this machine's business.
    expect(others.filter((line) => !line.includes('to tell the time'))).toEqual([]);
  });

  it('reports what would lose records, and that the clocks differ', async () => {
    const url = await start(['appendfsync everysec']);
    expect(await examine(url)).toEqual([
      expect.stringMatching(/^fail Redis: .*appendfsync is everysec and must be always/),
    ]);
    await server?.dispose();
    const lines = await examine(await start([]), 43_200_000);
    expect(lines).toContain('warn Redis memory: It has no maxmemory: it grows until it is killed.');
    expect(lines).toContainEqual(
      expect.stringMatching(/^warn Redis clock: Its clock and this one are 43[12]\d\d s apart\.$/),
    );
  });

  it('verifies TLS with the given CA, and reports how long the certificate is valid', async () => {
    const authority = await createTestAuthority(['localhost']);
    server = await RedisServer.start({ settings: ['maxmemory 1gb'], tls: authority });
    const url = server.url.replace('127.0.0.1', 'localhost');
    expect(await examine(url)).toEqual([
      expect.stringMatching(/^fail Redis: It cannot be reached: .*self-signed certificate/),
    ]);
    const lines = await examine(url, 0, authority.ca);
    expect(lines[0]).toMatch(/^ok Redis: Version .*, over TLS/);
    // The authorities of tests sign for one day.
    expect(lines).toContainEqual(
      expect.stringMatching(/^warn Redis TLS: Its certificate is valid until \d{4}-\d\d-\d\d\.$/),
    );
    const earlier = await examine(url, -60 * 86_400_000, authority.ca);
    expect(earlier).toContainEqual(expect.stringMatching(/^ok Redis TLS: Its certificate is valid until/));
  });

  it('reports that there is none, or that it needs the password', async () => {
    const url = await start(['requirepass right']);
    const wrong = await examine(url.replace('://', '://:wrong-secret@'));
    expect(wrong).toEqual([expect.stringMatching(/^fail Redis: It cannot be reached: .*WRONGPASS/)]);
    expect(wrong.join()).not.toContain('wrong-secret');
    await server?.dispose();
    expect(await examine(url)).toEqual([expect.stringMatching(/^fail Redis: It cannot be reached: .*ECONNREFUSED/)]);
  });

  it('asks the Sentinels for the master, and reports whether it has a replica', async () => {
    const url = await start(['maxmemory 1gb']);
    const sentinels = await RedisSentinels.start(3, Number(new URL(url).port));
    try {
      const lines = await examine(`redis+sentinel://${sentinels.hosts}/pods`);
      expect(lines[0]).toMatch(/^ok Redis: Version/);
      expect(lines).toContainEqual(expect.stringMatching(/^fail Redis replicas: .* has no replica/));
      expect(await examine(`redis+sentinel://${sentinels.hosts}/others`)).toEqual([
        expect.stringMatching(/^fail Redis: It cannot be reached/),
      ]);
    } finally {
      await sentinels.dispose();
    }
  });
});
