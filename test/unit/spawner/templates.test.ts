import { describe, expect, it } from 'vitest';
import { pollDelayMs, readinessFor } from '../../../spawner/orchestrator/process/readiness.ts';
import { isBoltReady, isHttpReady, isPostgresReady } from '../../../spawner/orchestrator/process/probes.ts';
import { initialAuth } from '../../../spawner/orchestrator/process/recipes/neo4j/auth.ts';
import { neo4jConf } from '../../../spawner/orchestrator/process/recipes/neo4j/neo4j.ts';
import { scramVerifier } from '../../../spawner/orchestrator/process/recipes/postgres/scram.ts';
import { createTemplateCatalog } from '../../../spawner/templates/catalog.ts';
import { workloadSpec } from '../../contract/orchestrator-harness.ts';

describe('the catalog', () => {
  const catalog = createTemplateCatalog();

  it('finds templates by name and alias, and nothing else', () => {
    expect(catalog.find('neo4j')?.name).toBe('template/neo4j');
    expect(catalog.find('template/neo4j')?.name).toBe('template/neo4j');
    expect(catalog.find('postgres')?.name).toBe('template/postgres');
    for (const written of ['', 'Neo4j', 'neo4j ', 'constructor', '__proto__', 'postgres:18']) {
      expect(catalog.find(written)).toBeNull();
    }
  });

  it('holds each name once, and readiness of a stanza that the template has', () => {
    const names = catalog.list().flatMap(({ name, aliases }) => [name, ...aliases]);
    expect(new Set(names).size).toBe(names.length);
    for (const { networking, readiness, requiresCommand, takesCommand } of catalog.list()) {
      if (networking !== null) expect(Object.keys(networking)).toContain(readiness.stanza);
      if (requiresCommand) expect(takesCommand).toBe(true);
    }
  });
});

describe('an answer tells whether', () => {
  const errorResponse = (code: string) => {
    const body = Buffer.from(`SFATAL\0VFATAL\0C${code}\0Mthe database system is starting up\0\0`);
    const head = Buffer.from('E\0\0\0\0');
    head.writeUInt32BE(body.length + 4, 1);
    return Buffer.concat([head, body]);
  };

  it('Postgres is ready: anything but 57P03', () => {
    expect(isPostgresReady(errorResponse('57P03'))).toBe(false);
    expect(isPostgresReady(errorResponse('28000'))).toBe(true);
    expect(isPostgresReady(Buffer.from('R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0'))).toBe(true);
    expect(isPostgresReady(Buffer.from('HTTP/1.1 400'))).toBe(false);
    for (let cut = 0; cut < errorResponse('57P03').length; cut += 1) {
      expect(isPostgresReady(errorResponse('57P03').subarray(0, cut))).toBeNull();
    }
    // A length that no server sends never makes it wait for ever.
    expect(isPostgresReady(Buffer.concat([Buffer.from('E\xff\xff\xff\xff', 'latin1'), Buffer.alloc(70_000)]))).toBe(
      false,
    );
  });

  it('Bolt is ready: a version', () => {
    expect(isBoltReady(Buffer.from([0, 0, 4]))).toBeNull();
    expect(isBoltReady(Buffer.from([0, 0, 4, 5]))).toBe(true);
    expect(isBoltReady(Buffer.from([0, 0, 0, 0]))).toBe(false);
  });

  it('HTTP is ready: any status that is not a server error', () => {
    expect(isHttpReady(Buffer.from('HTTP/1.1 200 OK\r\n'))).toBe(true);
    expect(isHttpReady(Buffer.from('HTTP/1.1 401'))).toBe(true);
    expect(isHttpReady(Buffer.from('HTTP/1.0 503 x'))).toBe(false);
    expect(isHttpReady(Buffer.from('HTTP/1.'))).toBeNull();
    expect(isHttpReady(Buffer.from('SSH-2.0-OpenSSH'))).toBe(false);
  });
});

describe('readiness', () => {
  it('is asked at the stanza the template names, else at the default, else at the first', () => {
    const readiness = { kind: 'http', stanza: 'web', path: '/' } as const;
    expect(readinessFor(readiness, ['default', 'web'])).toBe(readiness);
    expect(readinessFor(readiness, ['other', 'default'])).toEqual({ kind: 'tcp', stanza: 'default' });
    expect(readinessFor(readiness, ['other'])).toEqual({ kind: 'tcp', stanza: 'other' });
    expect(readinessFor(readiness, [])).toBeNull();
  });

  it('is asked ever less often', () => {
    expect([0, 9_999, 10_000, 60_000, 1e9].map(pollDelayMs)).toEqual([12, 12, 50, 250, 250]);
  });
});

describe('passwords', () => {
  it('become the verifier that RFC 7677 and Postgres agree on', async () => {
    // RFC 7677 section 3: user "user", password "pencil".
    const salt = Buffer.from('W22ZaJ0SNY7soEsUEjb6gQ==', 'base64');
    expect(await scramVerifier('pencil', salt)).toBe(
      'SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=',
    );
    expect(await scramVerifier('pencil')).not.toBe(await scramVerifier('pencil'));
  });

  it("become what neo4j-admin 5.26 writes for 'hunter22secret'", () => {
    const salt = Buffer.from('e147835efaf8002751f2b93ce5491de1ad800842079901552050ecd8b1915628', 'hex');
    expect(initialAuth('neo4j', 'hunter22secret', salt)).toBe(
      'neo4j:SHA-256,addc43643e0251038e8915d4ec124d4e70076ce237450b8cdd59e9bf0abf8060,' +
        'e147835efaf8002751f2b93ce5491de1ad800842079901552050ecd8b1915628,1024:\n',
    );
  });
});

describe("a Neo4j's configuration", () => {
  it('listens on loopback, advertises the outside, and has no second word for any setting', () => {
    const workload = workloadSpec(
      {},
      { podId: 'mygraph', hosts: { default: 'mygraph.pods.x.org' }, publicHttpsPort: 443 },
    );
    const conf = neo4jConf({ workload, home: '/home', volume: '/volume', ports: { default: 20_000, browser: 20_001 } });
    const lines = conf.trim().split('\n');
    expect(lines).toContain('server.bolt.listen_address=127.0.0.1:20000');
    expect(lines).toContain('server.bolt.advertised_address=mygraph.pods.x.org:443');
    expect(lines).toContain('server.http.listen_address=127.0.0.1:20001');
    expect(lines).toContain('dbms.security.auth_enabled=true');
    expect(lines).toContain('server.https.enabled=false');
    const names = lines.map((line) => line.slice(0, line.indexOf('=')));
    expect(new Set(names).size).toBe(names.length);
  });
});
