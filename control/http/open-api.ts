import { z } from 'zod';

import { documentedRefusals, REFUSAL_DESCRIPTIONS } from './documented-refusals.ts';
import type { Operation, OperationHeader } from './operation.ts';

interface OpenApiOptions {
  readonly version: string;
  /** Schemas that get a name of their own among the components. */
  readonly named: Readonly<Record<string, z.ZodType>>;
  /** Parameters of paths, by their names. */
  readonly pathParameters: PathParameters;
}

type PathParameters = Readonly<
  Record<string, { readonly example: string; /** Default: any text. */ readonly schema?: z.ZodType }>
>;

const HEADERS: Readonly<Record<OperationHeader, string>> = {
  'If-Match': 'ETag of the object as you have read it: a change that came in between refuses the call with 412.',
  'If-Range': 'ETag or Last-Modified of the file that you have a part of: if it has changed, you get the whole.',
  'Last-Event-ID': 'id of the last event that you have.',
  Range: 'bytes=0-99: only these. Several ranges at once are answered with the whole.',
  'X-Pods-Admin': 'true: also what belongs to others of the tenant; for administrators.',
};

/** The OpenAPI 3.1 document, made from the operations the router serves and the schemas that check their bodies. */
export function openApiOf(
  operations: readonly Operation[],
  { version, named, pathParameters }: OpenApiOptions,
): object {
  const registry = z.registry<{ id: string }>();
  for (const [id, schema] of Object.entries(named)) registry.add(schema, { id });
  const results = new Map<string, z.ZodType>();
  for (const { operationId, result, replies } of operations) {
    // They have no envelope: each event has its data as it is.
    if (replies !== undefined && replies !== 'json') continue;
    const id = `${pascalCase(operationId)}Response`;
    results.set(operationId, envelopeOf(result));
    registry.add(results.get(operationId) ?? result, { id });
  }
  const error = z.object({
    message: z.union([z.string(), z.array(z.string())]).describe('A list of sentences for validation errors.'),
    metadata: z.object({}),
    result: z.null(),
    status: z.literal('error'),
    version: z.string(),
  });
  registry.add(error, { id: 'Error' });

  const reference = (id: string): string => `#/components/schemas/${id}`;
  const nameOf = (schema: z.ZodType): string => registry.get(schema)?.id ?? '';
  const { schemas } = z.toJSONSchema(registry, { uri: reference, io: 'output' });
  // What has a default may be left out of a body.
  const { schemas: ofBodies } = z.toJSONSchema(registry, { uri: reference, io: 'input' });
  for (const { body } of operations) {
    const id = body === undefined ? '' : nameOf(body);
    const schema = ofBodies[id];
    if (schema !== undefined) schemas[id] = schema;
  }
  const paths: Record<string, Record<string, object>> = {};
  for (const operation of operations) {
    const methods = (paths[operation.path] ??= {});
    const result = results.get(operation.operationId) ?? operation.result;
    for (const method of operation.methods) {
      const refs: Schemas = {
        result: { $ref: reference(nameOf(result)) },
        error: { $ref: reference('Error') },
        body: operation.body === undefined ? null : { $ref: reference(nameOf(operation.body)) },
      };
      methods[method] = operationOf(operation, method, refs, pathParameters);
    }
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Podgate',
      description: 'Pods with a name, a route and a password in one call. Compatible with the Tapis Pods API.',
      version,
    },
    servers: [{ url: '/v3' }, { url: '/' }],
    paths,
    components: {
      schemas: Object.fromEntries(Object.entries(schemas).map(([id, schema]) => [id, withoutIdentity(schema)])),
      securitySchemes: {
        TapisJWT: { type: 'apiKey', in: 'header', name: 'X-Tapis-Token' },
        Bearer: { type: 'http', scheme: 'bearer', bearerFormat: 'JWT' },
      },
    },
  };
}

/** The document itself. It never changes: all responses share its bytes. */
export function openApiOperation(document: object): Operation {
  const bytes = Buffer.from(JSON.stringify(document));
  return {
    operationId: 'openapi',
    methods: ['get'],
    path: '/openapi.json',
    tag: 'Misc',
    summary: 'This document.',
    result: z.object({}),
    access: 'open',
    handle: async () => ({ kind: 'document', type: 'json', bytes }),
  };
}

function fileForm(fields: Readonly<Record<string, string>>): object {
  const properties: Record<string, object> = {};
  for (const [name, description] of Object.entries(fields)) properties[name] = { type: 'string', description };
  properties['file'] = { type: 'string', format: 'binary' };
  return { 'multipart/form-data': { schema: { type: 'object', properties, required: Object.keys(properties) } } };
}

interface Schemas {
  readonly result: object;
  readonly error: object;
  readonly body: object | null;
}

function operationOf(operation: Operation, method: string, schemas: Schemas, named: PathParameters): object {
  const inPath = [...operation.path.matchAll(/\{(\w+)\}/g)].map(([, name = '']) => ({
    name,
    in: 'path',
    required: true,
    schema: jsonSchemaOf(named[name]?.schema ?? z.string()),
    ...(named[name] === undefined ? {} : { example: named[name].example }),
  }));
  const inQuery = (operation.query ?? []).map(({ name, description, schema }) => ({
    name,
    in: 'query',
    required: false,
    description,
    schema: jsonSchemaOf(schema ?? z.string()),
  }));
  const inHeader = (operation.headers ?? []).map((name) => ({
    name,
    in: 'header',
    required: false,
    description: HEADERS[name],
    schema: { type: 'string' },
  }));
  const parameters = [...inPath, ...inQuery, ...inHeader];
  const [example] = (operation.body?.meta()?.['examples'] as readonly unknown[] | undefined) ?? [];
  return {
    // Where a path answers to GET and POST alike, GET has the name that the clients know.
    operationId: operation.methods[0] === method ? operation.operationId : `${operation.operationId}_by_${method}`,
    tags: [operation.tag],
    summary: operation.summary,
    ...(parameters.length === 0 ? {} : { parameters }),
    ...(operation.takesFile === true
      ? { requestBody: { required: true, content: fileForm(operation.formFields ?? {}) } }
      : {}),
    ...(schemas.body === null
      ? {}
      : { requestBody: { required: true, content: { 'application/json': { schema: schemas.body, example } } } }),
    responses: responsesOf(operation, method, {
      done: doneOf(operation, schemas.result),
      refused: schemas.error,
      result: schemas.result,
    }),
    security: operation.access === 'open' ? [] : [{ TapisJWT: [] }, { Bearer: [] }],
  };
}

/** The response to a call that succeeds. */
function doneOf({ replies = 'json', mayReplyEvents: events }: Operation, result: object): object {
  switch (replies) {
    case 'json':
      return {
        description: 'Done.',
        content: {
          ...json(result),
          ...(events === undefined ? {} : { 'text/event-stream': { schema: jsonSchemaOf(events) } }),
        },
      };
    case 'events':
      return {
        description: 'Events; the schema is that of their data.',
        content: { 'text/event-stream': { schema: result } },
      };
    case 'bytes':
      return { description: 'The bytes.', content: { 'application/octet-stream': {}, 'application/zip': {} } };
    case 'html':
      return { description: 'A page.', content: { 'text/html': {} } };
    case 'redirect':
      return { description: 'Go to Location.' };
    case 'upgrade':
      return { description: 'The connection is a WebSocket.' };
  }
}

const DONE_STATUS = { json: 200, events: 200, bytes: 200, html: 200, redirect: 303, upgrade: 101 } as const;

interface Contents {
  readonly done: object;
  readonly refused: object;
  readonly result: object;
}

/** Every status that the operation returns: a client that knows them all needs no case for others. */
function responsesOf(operation: Operation, method: string, { done, refused, result }: Contents): object {
  const { otherStatuses = {} } = operation;
  const either = (description: string): object => ({ description, content: json({ anyOf: [result, refused] }) });
  if (otherStatuses === 'any') return { default: either('The status that the path names.') };
  const refusals = documentedRefusals(operation).map((status): readonly [number, object] => [
    status,
    { description: REFUSAL_DESCRIPTIONS[status] ?? '', content: json(refused) },
  ]);
  const others = Object.entries(otherStatuses).map(([status, description]): readonly [string, object] => [
    status,
    either(description),
  ]);
  const isCached = method === 'get' && operation.methods.length === 1 && operation.replies === undefined;
  return {
    [DONE_STATUS[operation.replies ?? 'json']]: done,
    ...(operation.headers?.includes('Range') === true ? { 206: done } : {}),
    ...(isCached ? { 304: { description: 'It is what If-None-Match names.' } } : {}),
    ...Object.fromEntries(refusals),
    ...Object.fromEntries(others),
  };
}

function json(schema: object): object {
  return { 'application/json': { schema } };
}

function jsonSchemaOf(schema: z.ZodType): object {
  return withoutIdentity(z.toJSONSchema(schema, { io: 'output' }));
}

function envelopeOf(result: z.ZodType): z.ZodType {
  return z.object({
    message: z.string(),
    metadata: z.record(z.string(), z.unknown()),
    result,
    status: z.enum(['success', 'error']),
    version: z.string(),
  });
}

/** A component is identified by its place in the document. */
function withoutIdentity(schema: object): object {
  return Object.fromEntries(Object.entries(schema).filter(([name]) => name !== '$id' && name !== '$schema'));
}

function pascalCase(snakeCase: string): string {
  return snakeCase
    .split('_')
    .map((word) => word.charAt(0).toUpperCase() + word.slice(1))
    .join('');
}
