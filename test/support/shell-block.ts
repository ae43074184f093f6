/**
 * The shell lines of a page that stand under the comment `<!-- tested: name -->`: what a reader types, a test types too.
 */
export function shellBlock(markdown: string, name: string): string {
  const at = markdown.indexOf(`<!-- tested: ${name} -->`);
  const block = at < 0 ? null : /```sh\n([^]*?)```/.exec(markdown.slice(at));
  if (block?.[1] === undefined) throw new Error(`the page has no lines called ${name}`);
  return block[1];
}
