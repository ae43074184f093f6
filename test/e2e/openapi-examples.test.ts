import { afterEach, beforeEach, expect, test } from 'vitest';

import { type DocumentedOperation, OpenApiDocument } from '../support/openapi-document.ts';
import { publishJupyter } from '../support/jupyter-template.ts';
import { Program } from '../support/program.ts';

/** Fresh for each try: the examples end with a pod that is being deleted. */
let program: Program;
let document: OpenApiDocument;
beforeEach(async () => {
  program = await Program.start({ workers: 1 });
  await publishJupyter(program, 'podgate/hello');
  const response = await fetch(`http://127.0.0.1:${program.controlPort}/openapi.json`);
  document = new OpenApiDocument((await response.json()) as object);
});
afterEach(() => program.dispose());

/** The examples are about the same objects: they are made, used, changed, started and stopped, and deleted. */
function rankOf({ method, path, operationId }: DocumentedOperation): number {
  if (method === 'delete') return 100 - path.split('/').length;
  if (/\/(start|stop|restart)$/.test(path)) return 50;
  const depth = path.split('/').length;
  const order = ['post', 'get', 'put'].indexOf(method);
  // A snapshot is taken of what has been uploaded.
  if (operationId === 'upload_to_volume') return 1;
  if (operationId === 'create_snapshot') return 2;
  if (operationId === 'restore_volume') return 3;
  if (operationId === 'upload_to_jupyter') return 40;
  return operationId.startsWith('create_') || operationId.startsWith('add_') ? 0 : order * 10 + depth;
}

function exampleOf({ operationId, path, parameters = [] }: DocumentedOperation): string {
  // The one operation for a pod of a certain kind, which ensure_jupyter_pod has made by then.
  if (operationId === 'upload_to_jupyter') return '/pods/jupyter/adminjupyter/upload';
  const query = operationId === 'delete_volume_file' ? '?path=data.csv' : '';
  return `${path}${query}`.replaceAll(/\{(\w+)\}/g, (_, name: string) => {
    const found = parameters.find((parameter) => parameter.in === 'path' && parameter.name === name);
    expect(found?.example, `an example of {${name}} in ${path}`).toBeTypeOf('string');
    return encodeURIComponent(String(found?.example));
  });
}

/** Steps of a login in front of a pod, which the example has not, and which nobody has begun. */
const REFUSED: ReadonlyMap<string, number> = new Map([
  ['pod_auth', 404],
  ['pod_login_callback', 404],
  ['pod_auth_callback', 404],
]);

test('the example of every operation does what the document says', async () => {
  const operations = document.operations.toSorted((a, b) => rankOf(a) - rankOf(b));
  expect(operations.length).toBeGreaterThan(25);
  for (const operation of operations) {
    const { operationId, method, requestBody, responses } = operation;
    if (operationId === 'upload_to_jupyter') await program.podStatus('adminjupyter', 'RUNNING');
    const body = requestBody?.content['application/json'];
    if (body !== undefined)
      expect([operationId, document.problemOf(body.schema, body.example)]).toEqual([operationId, '']);
    const file = new FormData();
    // The only text field that a form has, by the names of two operations.
    file.set(operationId === 'upload_to_jupyter' ? 'path' : 'dest_path', 'data.csv');
    file.set('file', new Blob(['a,b\n']), 'data.csv');
    const takesFile = requestBody?.content['multipart/form-data'] !== undefined;
    const leave = new AbortController();
    const response = await fetch(`http://127.0.0.1:${program.controlPort}/v3${exampleOf(operation)}`, {
      method: method.toUpperCase(),
      headers: {
        'X-Tapis-Token': program.token,
        ...(body === undefined ? {} : { 'Content-Type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body.example) }),
      ...(takesFile ? { body: file } : {}),
      signal: leave.signal,
    });
    const documented = responses[String(response.status)] ?? responses['default'];
    const [type = ''] = (response.headers.get('content-type') ?? '').split(';');
    if (type === 'text/event-stream') {
      expect(Object.keys(documented?.content ?? {})).toContain(type);
      leave.abort();
      continue;
    }
    if (type === 'application/octet-stream') {
      expect([operationId, response.status, await response.text()]).toEqual([operationId, 200, 'a,b\n']);
      continue;
    }
    const received: unknown = await response.json();
    // The one example that is an error says so in its path.
    // fetch() opens no WebSockets: their operations say so (terminal.test.ts opens them).
    const isWebSocket = responses['101'] !== undefined && response.status === 426;
    const isDone =
      response.status === (REFUSED.get(operationId) ?? 200) || isWebSocket || operationId === 'error_handler';
    expect([operationId, isDone, response.status], JSON.stringify(received)).toEqual([
      operationId,
      true,
      response.status,
    ]);
    const schema = documented?.content?.[type]?.schema;
    expect([operationId, type, schema === undefined]).toEqual([operationId, type, false]);
    expect([operationId, document.problemOf(schema ?? {}, received)]).toEqual([operationId, '']);
    if (operationId === 'create_pod') await program.podStatus('mypg', 'RUNNING');
  }
});
