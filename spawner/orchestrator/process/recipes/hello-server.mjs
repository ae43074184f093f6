// The program of a podgate/hello pod: it runs on its own, copied into the pod's home.
import { Buffer } from 'node:buffer';
import { createServer } from 'node:http';
import process from 'node:process';

const pod = process.env.POD_ID ?? 'pod';
const startedAt = new Date().toISOString();

const page = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${pod}</title>
<style>body { font: 1.1rem/1.6 system-ui, sans-serif; margin: 15vh auto; max-width: 32rem; padding: 0 1rem }</style>
<h1>Hello from ${pod}</h1>
<p>This page comes from a pod that runs behind Podgate. It has been up since <time>${startedAt}</time>.</p>
</html>
`;

const server = createServer((request, response) => {
  request.resume();
  const path = request.url ?? '/';
  if (path === '/healthz') return send(response, 200, 'text/plain; charset=utf-8', 'ok\n');
  const wantsPage = (request.headers.accept ?? '').includes('text/html');
  if (path === '/' && wantsPage) return send(response, 200, 'text/html; charset=utf-8', page);
  const hello = { message: `Hello from ${pod}`, pod, method: request.method, path, startedAt };
  return send(response, 200, 'application/json', `${JSON.stringify(hello)}\n`);
});

function send(response, status, type, body) {
  response.writeHead(status, { 'content-type': type, 'content-length': Buffer.byteLength(body) });
  response.end(body);
}

// Gateways keep connections for long: theirs should be the side that closes.
server.keepAliveTimeout = 300_000;
server.listen(Number(process.env.PORT), process.env.HOST ?? '127.0.0.1', () =>
  console.log(`hello from ${pod}, listening`),
);
process.once('SIGTERM', () => {
  server.close();
  server.closeAllConnections();
});
