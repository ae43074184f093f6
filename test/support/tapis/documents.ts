import { Ajv2020, type ErrorObject } from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';

interface Content {
  readonly 'application/json'?: { readonly schema: object };
}

interface DocumentedOperation {
  readonly operationId: string;
  readonly parameters?: readonly { readonly name: string; readonly in: string }[];
  readonly requestBody?: { readonly content: Content };
  readonly responses: Readonly<Record<string, { readonly content?: Content }>>;
}

/** An operation of a document. */
export interface TapisOperation extends DocumentedOperation {
  readonly method: string;
  readonly path: string;
}

/** `place`: of the schema in the document, such as `NewPod.networking`. */
export type Difference = { readonly version: string; readonly place: string } & (
  | { readonly kind: 'more' | 'missing'; readonly field: string }
  | { readonly kind: 'other'; readonly rule: string; readonly value: unknown }
);

/** One of the documents beside this file, with a validator of what it describes. */
export class TapisDocument {
  readonly version: string;
  readonly operations: readonly TapisOperation[];
  readonly #schemas: Readonly<Record<string, { readonly properties?: object }>>;
  readonly #patterns: readonly { readonly operation: TapisOperation; readonly pattern: RegExp }[];
  readonly #ajv = new Ajv2020({ strict: false, allErrors: true, verbose: true });
  /** Of every part of a named schema. */
  readonly #places = new Map<unknown, string>();
  readonly #names = new Map<object, string>();

  constructor(version: '1.6.0' | '26Q1.1') {
    const text = readFileSync(join(import.meta.dirname, `pods-${version}.yml`), 'utf8');
    const document = parse(text) as {
      readonly paths: Record<string, Record<string, DocumentedOperation>>;
      readonly components: { readonly schemas: Record<string, { readonly properties?: object }> };
    };
    this.version = version;
    this.#schemas = document.components.schemas;
    this.operations = Object.entries(document.paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, operation]) => ({ ...operation, method, path })),
    );
    this.#patterns = this.operations
      .map((operation) => ({ operation, pattern: patternOf(operation.path) }))
      // What is written out is meant before what is a parameter: /pods/volumes is no pod.
      .sort((a, b) => parametersIn(a.operation.path) - parametersIn(b.operation.path));
    for (const [name, schema] of Object.entries(document.components.schemas)) this.#place(schema, name);
    addFormats.default(this.#ajv);
    this.#ajv.addSchema(document, 'document');
  }

  /** Null: the document has none. `path` is without `/v3`. */
  operationAt(method: string, path: string): TapisOperation | null {
    const found = this.#patterns.find(
      ({ operation, pattern }) => operation.method === method.toLowerCase() && pattern.test(path),
    );
    return found?.operation ?? null;
  }

  /** Has a named schema this property? */
  describes(place: string, field: string): boolean {
    const { properties = {} } = this.#schemas[place] ?? {};
    return Object.hasOwn(properties, field);
  }

  /** What a value has that a schema of the document does not allow. */
  differences(schema: object, value: unknown): readonly Difference[] {
    let name = this.#names.get(schema);
    if (name === undefined) {
      name = `schema-${this.#names.size}`;
      this.#names.set(schema, name);
      const absolute = JSON.stringify(schema).replaceAll('"$ref":"#/', '"$ref":"document#/');
      this.#ajv.addSchema(JSON.parse(absolute) as object, name);
    }
    if (this.#ajv.validate(name, value)) return [];
    return (this.#ajv.errors ?? []).flatMap((error) => this.#differenceOf(error) ?? []);
  }

  /** Null: it says nothing that another error does not say. */
  #differenceOf({ keyword, params, parentSchema, instancePath, data }: ErrorObject): Difference | null {
    const { additionalProperty, missingProperty, type } = params as Readonly<Record<string, string | undefined>>;
    if (keyword === 'anyOf' || type === 'null') return null;
    const place = this.#places.get(parentSchema) ?? instancePath;
    const of = { version: this.version, place };
    if (additionalProperty !== undefined) return { ...of, kind: 'more', field: additionalProperty };
    if (missingProperty !== undefined) return { ...of, kind: 'missing', field: missingProperty };
    return { ...of, kind: 'other', rule: `${keyword} ${type ?? ''}`.trim(), value: data };
  }

  #place(schema: unknown, place: string): void {
    if (typeof schema !== 'object' || schema === null) return;
    this.#places.set(schema, place);
    for (const [name, part] of Object.entries(schema)) {
      this.#place(
        part,
        ['properties', 'anyOf', 'items'].includes(name) || /^\d+$/.test(name) ? place : `${place}.${name}`,
      );
    }
  }
}

function patternOf(path: string): RegExp {
  const source = path
    .replaceAll(/[.]/g, '\\.')
    .replaceAll('/{path}', '/.+')
    .replaceAll('{url_path}', '.*')
    .replaceAll(/\{\w+\}/g, '[^/]+');
  return new RegExp(`^${source}$`);
}

function parametersIn(path: string): number {
  return path.split('{').length;
}
