import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';

/** A Lua script: its text, and the name by which a server knows it once it has run it. */
export interface RedisScript {
  readonly name: string;
  readonly text: string;
  readonly sha: string;
}

/** Each script with the parts it needs. Its contract is on top of its file. */
const PARTS = {
  commit: ['age', 'store-id', 'queue'],
  identity: ['store-id'],
  adopt: ['age', 'store-id', 'queue'],
  changes: ['store-id'],
  list: [],
  add: ['age', 'queue'],
  claim: ['age', 'queue'],
  extend: ['age', 'queue'],
  acknowledge: ['age', 'queue'],
  retry: ['age', 'queue'],
  park: ['age', 'queue'],
  unpark: ['age', 'queue'],
  stats: ['age', 'queue'],
  'acquire-lock': ['age'],
  'renew-lock': ['age'],
  'release-lock': [],
  heartbeat: ['age'],
  'append-action': [],
  'save-output': [],
  'newest-output': [],
  'begin-import': ['age'],
  import: ['age'],
  'missing-rights': [],
} as const satisfies Record<string, readonly string[]>;

export type ScriptName = keyof typeof PARTS;
export type RedisScripts = Readonly<Record<ScriptName, RedisScript>>;

/** Reads the scripts from their files. */
export function readScripts(): RedisScripts {
  const entries = Object.entries(PARTS).map(([name, parts]) => [name, compose(name, parts)]);
  return Object.fromEntries(entries) as RedisScripts;
}

/** The parts follow the first line, which says how the server is to run the script. */
function compose(name: string, parts: readonly string[]): RedisScript {
  const [mode = '', ...rest] = readLua(name).split('\n');
  const text = [mode, ...parts.map(readLua), ...rest].join('\n');
  return { name, text, sha: createHash('sha1').update(text).digest('hex') };
}

function readLua(name: string): string {
  return readFileSync(new URL(`scripts/${name}.lua`, import.meta.url), 'utf8');
}
