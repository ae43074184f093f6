import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import type { AddressInfo } from 'node:net';
import { dirname, join } from 'node:path';
import { connect } from 'node:tls';

const DRIVER = join(dirname(createRequire(import.meta.url).resolve('neo4j-driver/package.json')), 'lib/browser');
const DEADLINE_MS = 120_000;

/**
 * Neo4j Browser's way: its driver, in Chromium, speaks Bolt inside a WebSocket. Answers what came of the query, by URI. The
 * browser trusts the key of the certificate that was verified here before.
 */
export async function askInBrowser(call: {
  readonly uris: readonly string[];
  readonly user: string;
  readonly password: string;
  readonly query: string;
  readonly ca: string;
  readonly directory: string;
}): Promise<readonly unknown[]> {
  const { uris, user, password, query, ca, directory } = call;
  const pins = await Promise.all(uris.map((uri) => pinOf(new URL(uri), ca)));
  const told = Promise.withResolvers<readonly unknown[]>();
  const server = createServer((request, response) => {
    if (request.url === '/driver.js') response.end(readFileSync(join(DRIVER, 'neo4j-web.min.js')));
    else if (request.url === '/told') {
      let text = '';
      request.setEncoding('utf8').on('data', (piece: string) => (text += piece));
      request.on('end', () => {
        response.end();
        told.resolve(JSON.parse(text) as readonly unknown[]);
      });
    } else response.setHeader('content-type', 'text/html').end(pageOf([uris, user, password, query]));
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  const trust = `--ignore-certificate-errors-spki-list=${pins.join(',')}`;
  const options = ['--headless', '--no-sandbox', '--disable-gpu', `--user-data-dir=${directory}/chromium`, trust];
  const browser = spawn('chromium', [...options, url], { stdio: 'ignore' });
  const late = setTimeout(() => told.reject(new Error('Chromium says nothing')), DEADLINE_MS);
  browser.once('error', (error) => told.reject(error));
  try {
    return await told.promise;
  } finally {
    clearTimeout(late);
    const gone = once(browser, 'exit');
    browser.kill('SIGTERM');
    await gone;
    server.closeAllConnections();
    server.close();
  }
}

/** The page asks each URI in turn and posts what came of it. */
function pageOf(call: readonly unknown[]): string {
  return `<!doctype html><script src="/driver.js"></script><script type="module">
const [uris, user, password, query] = ${JSON.stringify(call)};
const told = [];
for (const uri of uris) {
  const options = { disableLosslessIntegers: true, maxTransactionRetryTime: 2000 };
  const driver = neo4j.driver(uri, neo4j.auth.basic(user, password), options);
  try {
    const { records } = await driver.executeQuery(query, {}, { database: 'neo4j' });
    told.push(records[0].toObject());
  } catch (error) {
    told.push({ code: error.code, message: error.message });
  } finally {
    await driver.close();
  }
}
await fetch('/told', { method: 'POST', body: JSON.stringify(told) });
</script>`;
}

/** SHA-256 of the public key of that server, whose certificate this CA has issued: for a browser that trusts it alone. */
export function pinOf({ hostname, port }: URL, ca: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port: Number(port), servername: hostname, ca }, () => {
      const key = socket.getPeerX509Certificate()?.publicKey.export({ type: 'spki', format: 'der' });
      socket.destroy();
      resolve(
        createHash('sha256')
          .update(key ?? '')
          .digest('base64'),
      );
    });
    socket.once('error', reject);
  });
}
