/**
 * Makes docs/session.svg, the terminal session in README.md, from a real one. Start Podgate (npm start) without pods, then:
 *
 *   node scripts/record-session.ts
 *
 * It types the commands in SESSION in the checkout, and deletes the pod.
 */
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import { helpIfAsked } from './help.ts';

const ROOT = join(import.meta.dirname, '..');
/** What is typed. test/unit/docs/session.test.ts compares it with the picture. */
export const SESSION: readonly string[] = [
  './podgate create mypg --template postgres',
  `./podgate psql mypg -c 'SELECT 6 * 7 AS answer'`,
  './podgate list',
  './podgate explain mypg',
  './podgate stop mypg',
  'psql "$(./podgate url mypg)"',
];
const LINE_PX = 19;
const CHARACTER_PX = 8.4;
const COLUMNS_MAX = 118;
const COLORS: Readonly<Record<string, string>> = { 31: '#ff7b72', 32: '#7ee787', 33: '#e3b341', 36: '#79c0ff' };

interface Part {
  readonly text: string;
  readonly style: string;
}

if (process.argv[1] === import.meta.filename) {
  helpIfAsked(import.meta.filename);
  const lines = SESSION.flatMap((command) => [...typed(command), '']);
  writeFileSync(join(ROOT, 'docs/session.svg'), svgOf(lines.slice(0, -1)));
  spawnSync('./podgate', ['delete', 'mypg', '--yes'], { cwd: ROOT, stdio: 'inherit' });
}

/** The command and all it prints. */
function typed(command: string): readonly string[] {
  const { stdout, stderr } = spawnSync('/bin/bash', ['-c', command], {
    cwd: ROOT,
    encoding: 'utf8',
    env: { ...process.env, FORCE_COLOR: '1', NO_COLOR: undefined, CI: undefined },
  });
  process.stderr.write(`$ ${command}\n${stderr}${stdout}`);
  const output = `${stderr}${stdout}`.replace(/\n+$/, '');
  return [`\u001b[1m$ ${command}\u001b[22m`, ...(output === '' ? [] : output.split('\n'))];
}

function svgOf(lines: readonly string[]): string {
  const shown = lines.flatMap(wrapped);
  const [width, height] = [COLUMNS_MAX * CHARACTER_PX + 32, shown.length * LINE_PX + 32];
  const texts = shown.map((line, index) => {
    const spans = partsOf(line).map(({ text, style }) => `<tspan${style}>${escaped(text)}</tspan>`);
    return `<text x="16" y="${16 + (index + 1) * LINE_PX - 5}" xml:space="preserve">${spans.join('')}</text>`;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" role="img" aria-label="A terminal session with podgate">
<rect width="100%" height="100%" rx="8" fill="#0d1117"/>
<g font-family="ui-monospace,SFMono-Regular,Menlo,Consolas,monospace" font-size="14" fill="#e6edf3">
${texts.join('\n')}
</g>
</svg>
`;
}

/** Long lines go on in the next one, as in a terminal. */
function wrapped(line: string): readonly string[] {
  const plain = stripVTControlCharacters(line);
  if (plain.length <= COLUMNS_MAX) return [line];
  // Only plain ones are as long in practice; colors of others are dropped.
  return plain.match(new RegExp(`.{1,${COLUMNS_MAX}}`, 'g')) ?? [];
}

/** Text and its style, by the codes of ECMA-48 that the command line uses. */
function partsOf(line: string): readonly Part[] {
  const parts: Part[] = [];
  let [color, isBold] = ['', false];
  // eslint-disable-next-line no-control-regex -- that is what they are
  for (const [, code, text = ''] of line.matchAll(/(?:\u001b\[(\d+)m)?([^\u001b]*)/g)) {
    if (code === '1') isBold = true;
    else if (code === '22' || code === '0') isBold = false;
    if (code === '39' || code === '0') color = '';
    else if (code !== undefined && COLORS[code] !== undefined) color = COLORS[code];
    if (text === '') continue;
    parts.push({ text, style: `${color === '' ? '' : ` fill="${color}"`}${isBold ? ' font-weight="700"' : ''}` });
  }
  return parts;
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
