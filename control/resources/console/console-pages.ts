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
/** Libraries as their packages ship them, by the name under which modules of the console import them. */
const LIBRARIES: Readonly<Record<string, string>> = {
  'preact.js': 'preact',
  'preact-hooks.js': 'preact/hooks',
  'htm.js': 'htm',
};
/** preact/hooks imports preact by its bare name, for which browsers would need an inline import map. */
const BARE_IMPORT = /from"preact"/g;

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
  for (const [name, specifier] of Object.entries(LIBRARIES)) {
    files.set(`/console/${name}`, async () => {
      const text = await readFile(fileURLToPath(import.meta.resolve(specifier)), 'utf8');
      const withPaths = text.replaceAll(BARE_IMPORT, 'from"/console/preact.js"');
      return Buffer.from(withPaths.replace(/\n\/\/# sourceMappingURL=\S+\s*$/, '\n'));
    });
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

async function pageOf(identity: Buffer, type: string): Promise<Page> {
  const params = { [constants.BROTLI_PARAM_QUALITY]: 9, [constants.BROTLI_PARAM_SIZE_HINT]: identity.length };
  const [br, zipped] = await Promise.all([
    promisify(brotliCompress)(identity, { params }),
    promisify(gzip)(identity, { level: 9 }),
  ]);
  const etag = `"${createHash('sha256').update(identity).digest('base64url').slice(0, 22)}"`;
  return { type, etag, bodies: { identity, gzip: zipped, br } };
}
