import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { SMTPServer } from 'smtp-server';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { run } from '../../../support/run.ts';
import { until } from '../../../support/until.ts';
import { certificate, createStage } from '../support/stage.ts';
import { asleep, awake, wakes } from './sleepers.ts';

const HOST = 'mail.pods.localhost';
/** A whole conversation of SMTP over TLS: the client waits for the server's greeting. */
const CLIENT = `
import smtplib, ssl, sys
context = ssl.create_default_context(cafile=sys.argv[2])
with smtplib.SMTP_SSL("${HOST}", int(sys.argv[1]), context=context, timeout=30) as mail:
    print(mail.sendmail("a@example.org", ["b@example.org"], "Subject: hello\\r\\n\\r\\nhello"))`;
const stage = createStage();
const directory = mkdtempSync(join(tmpdir(), 'podgate-server-first-'));
const caPath = join(directory, 'ca.pem');
const senders: string[] = [];
const server = new SMTPServer({
  authOptional: true,
  disabledCommands: ['STARTTLS'],
  onData: (stream, { envelope: { mailFrom, rcptTo } }, done) => {
    if (mailFrom !== false) senders.push(`${mailFrom.address} to ${rcptTo.map(({ address }) => address).join()}`);
    stream.on('end', () => done()).resume();
  },
});
let port = 0;

beforeAll(async () => {
  writeFileSync(caPath, certificate.certificatePem);
  const listening = server.listen(0, '127.0.0.1');
  await once(listening, 'listening');
  ({ port } = listening.address() as AddressInfo);
});
afterAll(async () => {
  await new Promise<void>((resolve) => server.close(resolve));
  rmSync(directory, { recursive: true });
});

describe('a pod whose protocol lets the server speak first', () => {
  const client = (httpsPort: number) => run('python3', ['-c', CLIENT, String(httpsPort), caPath]);

  it('is woken by an SMTP client, which delivers its mail, if the stanza is configured so', async () => {
    const sleeping = asleep(HOST, { speaksFirst: 'server' });
    const fixture = await stage.start({ routes: [sleeping] });
    const sent = client(fixture.httpsPort);
    await until('the pod is woken', () => wakes(fixture).length > 0);
    expect(fixture.gateway.counters).toMatchObject({ heldNow: 1 });
    fixture.feed.change([awake(sleeping, port)]);
    expect(await sent).toEqual({ code: 0, stdout: '{}\n', stderr: '' });
    expect(senders).toEqual(['a@example.org to b@example.org']);
  });

  it('is not woken without that setting, or from an address that is not on its allow list', async () => {
    for (const changes of [{}, { speaksFirst: 'server', ipAllowList: ['192.0.2.0/24'] }] as const) {
      const fixture = await stage.start({ routes: [asleep(HOST, changes)] });
      const socket = await fixture.connect(HOST);
      await delay(300);
      expect(wakes(fixture)).toEqual([]);
      socket.destroy();
    }
  });
});
