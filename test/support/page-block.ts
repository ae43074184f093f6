/**
 * The lines of a page that stand under the comment `<!-- tested: name -->`: what a reader types, a test types too.
 */
export function pageBlock(markdown: string, name: string, language: 'sh' | 'yaml' = 'sh'): string {
  const at = markdown.indexOf(`<!-- tested: ${name} -->`);
  const fence = '`'.repeat(3);
  const block = new RegExp(`^( *)${fence}${language}\\n([^]*?)^ *${fence}`, 'm').exec(at < 0 ? '' : markdown.slice(at));
  const [, indent, lines] = block ?? [];
  if (indent === undefined || lines === undefined) throw new Error(`the page has no lines called ${name}`);
  return lines.replaceAll(new RegExp(`^${indent}`, 'gm'), '');
}
