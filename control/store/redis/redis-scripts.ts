import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';

/** A Lua script: its text, and the name by which a server knows it once it has run it. */
export interface RedisScript {
  readonly name: string;
  readonly text: string;
  readonly sha: string;
}

/**
 * What a script does on a store that lacks what its caller has seen (history.lua): 'writes' is refused there, 'reads' is
 * run everywhere, 'bare' does not ask: it serves those who look at a server before it is used, or fill an empty one.
 */
type Mode = 'writes' | 'reads' | 'bare';

/** Scripts that are another one's text, run by a server that is out of memory as well (redis.io: Lua flags). */
const WITHOUT_ROOM = { 'commit-ending': 'commit' } as const;

/** Each script with its mode and the parts it needs. Its contract is on top of its file. */
const SCRIPTS = {
  commit: ['writes', 'age', 'store-id', 'queue'],
  'commit-ending': ['writes', 'age', 'store-id', 'queue'],
  adopt: ['writes', 'age', 'store-id', 'queue'],
  identity: ['reads', 'age', 'store-id'],
  changes: ['reads'],
  list: ['reads'],
  get: ['reads'],
  add: ['writes', 'age', 'queue'],
  claim: ['writes', 'age', 'queue'],
  extend: ['writes', 'age', 'queue'],
  acknowledge: ['writes', 'age', 'queue'],
  retry: ['writes', 'age', 'queue'],
  park: ['writes', 'age', 'queue'],
  unpark: ['writes', 'age', 'queue'],
  stats: ['reads', 'age', 'queue'],
  'acquire-lock': ['writes', 'age'],
  'renew-lock': ['writes', 'age'],
  'release-lock': ['writes'],
  heartbeat: ['reads', 'age'],
  agree: ['writes'],
  settle: ['writes'],
  forget: ['writes'],
  'append-action': ['writes'],
  'save-output': ['writes'],
  'append-output': ['writes'],
  'newest-output': ['reads'],
  'remove-logs': ['writes'],
  'begin-import': ['bare', 'age'],
  import: ['bare', 'age'],
  'missing-rights': ['bare'],
  'append-only': ['reads'],
} as const satisfies Record<string, readonly [Mode, ...string[]]>;

export type ScriptName = keyof typeof SCRIPTS;
/** Scripts to which a mark is presented. */
export type MarkedScriptName = {
  [Name in ScriptName]: (typeof SCRIPTS)[Name][0] extends 'bare' ? never : Name;
}[ScriptName];
export type RedisScripts = Readonly<Record<ScriptName, RedisScript>>;

export function isWriting(name: MarkedScriptName): boolean {
  return SCRIPTS[name][0] === 'writes';
}

/** Reads the scripts from their files. */
export function readScripts(): RedisScripts {
  const entries = Object.entries(SCRIPTS).map(([name, [mode, ...parts]]) => [name, compose(name, mode, parts)]);
  return Object.fromEntries(entries) as RedisScripts;
}

/** The parts follow the first line, which says how the server is to run the script. */
function compose(name: string, mode: Mode, parts: readonly string[]): RedisScript {
  const original = name in WITHOUT_ROOM ? WITHOUT_ROOM[name as keyof typeof WITHOUT_ROOM] : null;
  const [firstLine = '', ...rest] = readLua(original ?? name).split('\n');
  const flags = original === null ? firstLine : '#!lua flags=allow-oom';
  const text = [flags, ...(mode === 'bare' ? [...parts.map(readLua), ...rest] : marked(mode, parts, rest))].join('\n');
  return { name, text, sha: createHash('sha1').update(text).digest('hex') };
}

/** As history.lua says it. Nothing of a script that is refused is run, its parts included. */
function marked(mode: Mode, parts: readonly string[], body: readonly string[]): readonly string[] {
  const refused = "if verdict ~= 'same' then return { verdict, store.id or '', store.commits, store.stamp } end";
  return [
    readLua('history'),
    ...(mode === 'writes' ? [refused] : []),
    ...parts.map(readLua),
    'local function work()',
    ...body,
    'end',
    'local answer = work()',
    "return { verdict, store.id or '', store.commits, store.stamp, answer }",
  ];
}

function readLua(name: string): string {
  return readFileSync(new URL(`scripts/${name}.lua`, import.meta.url), 'utf8');
}
