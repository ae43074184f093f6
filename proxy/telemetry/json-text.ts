/** What stands for itself in JSON, and does nothing to a terminal. */
const PLAIN = /^[ !#-[\]-~]*$/;

/** An escaped character is six. */
const ESCAPED_LENGTH = 6;

/**
 * A string as JSON in ASCII, cut to about `most` characters: its sender can neither begin a line nor control a
 * terminal, nor make it long.
 */
export function jsonText(text: string, most: number): string {
  const cut = text.length > most ? text.slice(0, most) : text;
  if (PLAIN.test(cut)) return `"${cut}"`;
  return JSON.stringify(cut.slice(0, Math.ceil(most / ESCAPED_LENGTH) * 2)).replaceAll(/[\u007f-\uffff]/g, escaped);
}

function escaped(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
}
