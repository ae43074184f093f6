/** Writes to stdout what the command was asked for; what happens meanwhile goes to stderr. */
export function print(text: string): void {
  process.stdout.write(text);
}

/** One JSON document on one line. */
export function printJson(value: unknown): void {
  print(`${JSON.stringify(value)}\n`);
}

/** For people, or for programs with `--json`. */
export function printResult({ json = false }: { readonly json?: boolean }, value: unknown, text: string): void {
  if (json) printJson(value);
  else print(text);
}
