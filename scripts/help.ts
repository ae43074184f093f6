import { readFileSync } from 'node:fs';

/**
 * Of a program for developers: prints the comment at the top of its file and ends, when it was called with --help. `file`
 * is the program's `import.meta.filename`.
 */
export function helpIfAsked(file: string): void {
  if (!process.argv.slice(2).some((word) => word === '--help' || word === '-h')) return;
  process.stdout.write(`${topComment(readFileSync(file, 'utf8'))}\n`);
  process.exit(0);
}

/** The text of the comment that a file begins with, without its marks. */
export function topComment(source: string): string {
  const block = /^\s*\/\*\*([\s\S]*?)\*\//.exec(source)?.[1] ?? /^(?:\/\/.*\n)+/.exec(source)?.[0] ?? '';
  return block.replaceAll(/^ ?(?:\* ?|\/\/ ?)/gm, '').trim();
}
