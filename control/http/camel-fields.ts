import { z } from 'zod';

/** `time_to_stop` as `timeToStop`. */
export type CamelCase<S extends string> = S extends `${infer Head}_${infer Tail}`
  ? `${Head}${Capitalize<CamelCase<Tail>>}`
  : S;

/** `timeToStop` as `time_to_stop`. */
export type SnakeCase<S extends string> = S extends `${infer Head}${infer Tail}`
  ? Head extends Lowercase<Head>
    ? `${Head}${SnakeCase<Tail>}`
    : `_${Lowercase<Head>}${SnakeCase<Tail>}`
  : S;

/** A value with the fields of its objects in camel case. Keys that users choose (records) stay as they are. */
export type CamelFields<T> = T extends readonly unknown[]
  ? T
  : T extends object
    ? string extends keyof T
      ? { readonly [K in keyof T]: CamelFields<T[K]> }
      : { readonly [K in keyof T as CamelCase<K & string>]: CamelFields<Exclude<T[K], undefined>> }
    : T;

/** What a schema has checked, with the fields of its objects as they are called in the code: see CamelFields. */
export function camelFields<T extends object>(schema: z.ZodObject, checked: T): CamelFields<T> {
  return converted(schema, checked) as CamelFields<T>;
}

export function snakeCase(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

export function camelCase(name: string): string {
  return name.replaceAll(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
}

function converted(schema: unknown, value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (schema instanceof z.ZodOptional || schema instanceof z.ZodNullable) return converted(schema.unwrap(), value);
  if (schema instanceof z.ZodPipe) return converted(schema.out, value);
  if (schema instanceof z.ZodRecord) return mapped(value, (key, each) => [key, converted(schema.valueType, each)]);
  if (!(schema instanceof z.ZodObject)) return value;
  return mapped(value, (key, each) => [camelCase(key), converted(schema.shape[key], each)]);
}

function mapped(value: object, entryOf: (key: string, each: unknown) => [string, unknown]): object {
  return Object.fromEntries(
    Object.entries(value).flatMap(([key, each]) => (each === undefined ? [] : [entryOf(key, each)])),
  );
}
