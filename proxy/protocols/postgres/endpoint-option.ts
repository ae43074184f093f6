/** What `options` of a StartupMessage said of an endpoint, and what is left without that. */
export interface EndpointOption {
  /** The values, unescaped, in their order. */
  readonly endpoints: readonly string[];
  /** '' when nothing else was said. */
  readonly rest: string;
}

interface Word {
  /** As the server reads it. */
  readonly text: string;
  readonly start: number;
  readonly end: number;
}

const SETTING = 'endpoint=';

/**
 * Finds `-c endpoint=HOST`, `-cendpoint=HOST` and `--endpoint=HOST` among command-line options as a server splits them
 * (pg_split_opts and process_postgres_switches in Postgres 18): words end at white space, a backslash keeps the next
 * character, there are no quotes. What is left are the very characters of the other words.
 */
export function takeEndpointOption(options: string): EndpointOption {
  const words = splitWords(options);
  const endpoints: string[] = [];
  let rest = '';
  /** Up to where `options` has been taken over into `rest` or left out. */
  let done = 0;
  let left = words.length;
  for (let index = 0; index < words.length; index++) {
    const word = words[index];
    if (word === undefined) break;
    // A switch takes the next word for its value, whatever that looks like.
    const value = word.text === '-c' ? words[++index] : undefined;
    const setting = word.text === '-c' ? (value?.text ?? '') : settingOf(word.text);
    if (!setting.startsWith(SETTING)) continue;
    endpoints.push(setting.slice(SETTING.length));
    rest += options.slice(done, word.start);
    done = (value ?? word).end;
    left -= value === undefined ? 1 : 2;
    // The space behind goes with it, so that what stood around it is no nearer and no farther than before.
    while (isSpace(options[done])) done++;
  }
  return { endpoints, rest: endpoints.length > 0 && left === 0 ? '' : rest + options.slice(done) };
}

/** `name=value` of a switch and its value in one word. */
function settingOf(text: string): string {
  return text.startsWith('-c') || text.startsWith('--') ? text.slice(2) : '';
}

function splitWords(options: string): readonly Word[] {
  const words: Word[] = [];
  let at = 0;
  while (at < options.length) {
    while (isSpace(options[at])) at++;
    if (at >= options.length) break;
    const start = at;
    let text = '';
    while (at < options.length && !isSpace(options[at])) {
      if (options[at] === '\\' && at + 1 < options.length) at++;
      text += options[at] ?? '';
      at++;
    }
    words.push({ text, start, end: at });
  }
  return words;
}

/** isspace() in the C locale. */
function isSpace(character: string | undefined): boolean {
  return character !== undefined && /^[ \t\n\v\f\r]$/.test(character);
}
