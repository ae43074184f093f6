import { existsSync } from 'node:fs';
import { delimiter, join, resolve } from 'node:path';
import { shellWord } from '../core/shell-word.ts';

const NPX = 'npx podgate';

interface CallingEnvironment {
  /** Of the scripts `podgate` and bin/podgate.mjs: the path they were called by, or NPX. No PODGATE_ name: no setting. */
  readonly _PODGATE_CALLED_AS?: string | undefined;
  readonly PATH?: string | undefined;
}

/** What commands begin with here, so that a hint can be pasted: `podgate`, `./podgate`, `npx podgate` or a path. */
export const PODGATE: string = calledAs(process.env);

export function calledAs({ _PODGATE_CALLED_AS: called = '', PATH = '' }: CallingEnvironment): string {
  if (called === '') return 'podgate';
  if (called === NPX) return NPX;
  const found = PATH.split(delimiter)
    .map((directory) => join(directory, 'podgate'))
    .find((path) => existsSync(path));
  if (found !== undefined && resolve(found) === resolve(called)) return 'podgate';
  // Without a slash: sh podgate.
  return shellWord(called.includes('/') ? called : `./${called}`);
}

/** The commands in a text, such as `podgate start mypg`, as they are typed here. Texts of the server have them, too. */
export function asTyped(text: string, podgate = PODGATE): string {
  // Not within a path, and not a pod of that name.
  return text.replaceAll(/(?<![\w./-]|\bpod )(?:npx |\.\/)?podgate (?=[a-z-])/g, () => `${podgate} `);
}
