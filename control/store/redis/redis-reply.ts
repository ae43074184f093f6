import { PodgateError } from '../../../core/errors.ts';

/** What a command answers over RESP2. Text comes as Buffer where it was asked for. */
export type Reply = string | number | null | Buffer | readonly Reply[];

export function textOf(reply: Reply | undefined): string {
  if (typeof reply !== 'string') throw unexpected('text', reply);
  return reply;
}

export function integerOf(reply: Reply | undefined): number {
  if (typeof reply !== 'number') throw unexpected('an integer', reply);
  return reply;
}

export function arrayOf(reply: Reply | undefined): readonly Reply[] {
  if (!Array.isArray(reply)) throw unexpected('an array', reply);
  return reply as readonly Reply[];
}

/** Text before and after the first space. */
export function splitAtSpace(text: string): readonly [string, string] {
  const at = text.indexOf(' ');
  if (at < 0) throw damaged('a value without a space');
  return [text.slice(0, at), text.slice(at + 1)];
}

/** A whole number that the store has written as text. */
export function numberIn(text: string): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(value)) throw damaged('a malformed number');
  return value;
}

function unexpected(wanted: string, reply: Reply | undefined): PodgateError {
  return damaged(`${reply === null ? 'nil' : typeof reply} where ${wanted} was expected`);
}

function damaged(what: string): PodgateError {
  return new PodgateError('store.unavailable', { detail: `Redis answered ${what}` });
}
