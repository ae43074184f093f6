import { expect, it } from 'vitest';
import { isExcluded } from '../../../proxy/policy/excluded-paths.ts';
import { EXCLUDED, NOT_EXCLUDED } from '../../support/excluded-paths.ts';

const PATHS = ['/public', '/favicon.ico'];

it.each(EXCLUDED)('%s needs no login', (target) => {
  expect(isExcluded(PATHS, target)).toBe(true);
});

it.each(NOT_EXCLUDED)('%s needs the login', (target) => {
  expect(isExcluded(PATHS, target)).toBe(false);
});

it('excludes only plain ASCII paths without an asterisk, and nothing by default', () => {
  for (const target of ['/public/\u00c0\u00ae', '/public/\u0085', '/public/é', '*', '']) {
    expect(isExcluded(PATHS, target)).toBe(false);
  }
  expect(isExcluded([], '/public')).toBe(false);
});

it('excluded paths stay below their prefix for servers that decode, normalize and merge them', () => {
  const alphabet = [
    '.',
    '/',
    '%2e',
    '%2f',
    '%5c',
    '\\',
    ';',
    '%25',
    '2e',
    '2f',
    ' ',
    '%20',
    'a',
    '%EF%BC%8F',
    '%c0%ae',
  ];
  let seed = 4_711;
  const pick = (): string => {
    seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648;
    return alphabet[seed % alphabet.length] ?? '';
  };
  let excluded = 0;
  for (let round = 0; round < 20_000; round += 1) {
    const target = `/public/${Array.from({ length: 1 + (round % 8) }, pick).join('')}`;
    if (!isExcluded(PATHS, target)) continue;
    excluded += 1;
    for (const path of readingsOf(target)) expect(path, target).toMatch(/^\/public(?:\/|$)/);
  }
  expect(excluded).toBeGreaterThan(100);
});

/** As lenient servers read a path: decoded up to twice, with `\` for `/`, without parameters, resolved. */
function readingsOf(target: string): readonly string[] {
  const decode = (text: string) =>
    Buffer.from(
      text.replaceAll(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16))),
      'latin1',
    ).toString('utf8');
  const spellings = [target, decode(target), decode(decode(target)), decode(target).normalize('NFKC')];
  return spellings.flatMap((text) => [resolved(text), resolved(text.replaceAll('\\', '/').replaceAll(/;[^/]*/g, ''))]);
}

function resolved(path: string): string {
  const segments: string[] = [];
  for (const segment of path.split('/')) {
    // Windows drops blanks around dots.
    const name = segment.trim();
    if (name === '' || name === '.') continue;
    if (name === '..') segments.pop();
    else segments.push(name);
  }
  return `/${segments.join('/')}`;
}
