import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { extname, join } from 'node:path';
import { promisify } from 'node:util';
import { brotliCompress, constants, gzip } from 'node:zlib';

import type { Page, Pages } from '../../http/pages.ts';

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.svg': 'image/svg+xml',
};
/** Pages with a path of their own; other files are below /console/. */
const ROOT_PATHS: Readonly<Record<string, string>> = { 'index.html': '/', 'docs.html': '/docs' };
/** A library as its package ships it, but for `changes`: a pattern that must be found, and what stands in its place. */
interface Library {
  readonly specifier: string;
  readonly changes?: readonly (readonly [pattern: RegExp, replacement: string])[];
}
/**
 * By the names under which modules of the console import them. The Content-Security-Policy has no room for an inline import
 * map, which the bare import of preact would need, nor for inline styles, which xterm.js makes: its rules become sheets
 * made by a script (console/rule-sheet.js), and its attributes properties.
 */
const LIBRARIES: Readonly<Record<string, Library>> = {
  'preact.js': { specifier: 'preact' },
  'preact-hooks.js': { specifier: 'preact/hooks', changes: [[/from"preact"/g, 'from"/console/preact.js"']] },
  'htm.js': { specifier: 'htm' },
  'xterm.js': {
    specifier: '@xterm/xterm/lib/xterm.mjs',
    changes: [
      [/\.createElement\("style"\)/g, '.createElement("podgate-rules")'],
      [/(\w+)\.setAttribute\("style",(`[^`]*`)\)/g, '$1.style.cssText=$2'],
    ],
  },
  'xterm.css': { specifier: '@xterm/xterm/css/xterm.css' },
  'xterm-fit.js': { specifier: '@xterm/addon-fit/lib/addon-fit.mjs' },
};

/**
 * The files of console/, and the libraries that they import, from their packages. Each is compressed when it is first asked
 * for, and kept.
 */
export async function openConsolePages(directory: string): Promise<Pages> {
  const files = new Map<string, () => Promise<Buffer>>();
  for (const name of await readdir(directory)) {
    if (TYPES[extname(name)] === undefined) continue;
    files.set(ROOT_PATHS[name] ?? `/console/${name}`, () => readFile(join(directory, name)));
  }
  for (const [name, library] of Object.entries(LIBRARIES)) {
    files.set(`/console/${name}`, async () => Buffer.from(await textOf(library)));
  }
  const pages = new Map<string, Promise<Page>>();
  return {
    paths: new Set(files.keys()),
    get: async (path) => {
      const read = files.get(path);
      if (read === undefined) return null;
      const kept = pages.get(path);
      if (kept !== undefined) return await kept;
      const page = read().then((body) => pageOf(body, TYPES[extname(path)] ?? 'text/html; charset=utf-8'));
      pages.set(path, page);
      // A file that could not be read now may be readable later.
      page.catch(() => pages.delete(path));
      return await page;
    },
  };
}

async function textOf({ specifier, changes = [] }: Library): Promise<string> {
  let text = await readFile(fileURLToPath(import.meta.resolve(specifier)), 'utf8');
  for (const [pattern, replacement] of changes) {
    const changed = text.replaceAll(pattern, replacement);
    if (changed === text) throw new Error(`${specifier} does not contain ${pattern.source}: it is another version`);
    text = changed;
  }
  return text.replace(/\n\/\/# sourceMappingURL=\S+\s*$/, '\n');
}

async function pageOf(identity: Buffer, type: string): Promise<Page> {
  const params = { [constants.BROTLI_PARAM_QUALITY]: 9, [constants.BROTLI_PARAM_SIZE_HINT]: identity.length };
  const [br, zipped] = await Promise.all([
    promisify(brotliCompress)(identity, { params }),
    promisify(gzip)(identity, { level: 9 }),
  ]);
  const etag = `"${createHash('sha256').update(identity).digest('base64url').slice(0, 22)}"`;
  return { type, etag, bodies: { identity, gzip: zipped, br } };
}
