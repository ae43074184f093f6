import { Ajv2020 } from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';

interface Content {
  readonly schema: object;
  readonly example?: unknown;
}

/** What the tests read of one operation in an OpenAPI 3.1 document. */
export interface DocumentedOperation {
  readonly operationId: string;
  readonly method: string;
  /** With its parameters in braces. */
  readonly path: string;
  readonly parameters?: readonly { readonly name: string; readonly in: string; readonly example?: unknown }[];
  readonly requestBody?: { readonly content: Readonly<Record<string, Content>> };
  readonly responses: Readonly<Record<string, { readonly content?: Readonly<Record<string, Content>> }>>;
}

/** An OpenAPI 3.1 document, with a validator of what it describes. */
export class OpenApiDocument {
  readonly operations: readonly DocumentedOperation[];
  readonly #pointers = new Map<object, string>();
  readonly #ajv = new Ajv2020({ strict: false, allErrors: true });

  constructor(document: object) {
    const { paths } = document as { paths: Record<string, Record<string, Omit<DocumentedOperation, 'path'>>> };
    this.operations = Object.entries(paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, operation]) => ({ ...operation, method, path })),
    );
    addFormats.default(this.#ajv);
    this.#ajv.addSchema(document, 'openapi');
  }

  /** What is wrong with a value by a schema of the document, or ''. */
  problemOf(schema: object, value: unknown): string {
    let pointer = this.#pointers.get(schema);
    if (pointer === undefined) {
      pointer = `schema-${this.#pointers.size}`;
      this.#pointers.set(schema, pointer);
      this.#ajv.addSchema(withAbsoluteReferences(schema), pointer);
    }
    return this.#ajv.validate(pointer, value) ? '' : this.#ajv.errorsText();
  }
}

/** References of the document (`#/components/...`) as they are called from outside of it. */
function withAbsoluteReferences(schema: object): object {
  return JSON.parse(JSON.stringify(schema).replaceAll('"$ref":"#/', '"$ref":"openapi#/')) as object;
}
