/** Asks on the terminal. False: no, or Ctrl-C. Call it only where there is one (`canAsk`). */
export async function ask(message: string): Promise<boolean> {
  const { confirm } = await import('@clack/prompts');
  return (await confirm({ message, initialValue: false, output: process.stderr })) === true;
}

/** What is typed is not shown. Null: Ctrl-C. */
export async function askSecret(message: string): Promise<string | null> {
  const { isCancel, password } = await import('@clack/prompts');
  const answer = await password({ message, output: process.stderr });
  return isCancel(answer) ? null : answer;
}

export function canAsk(): boolean {
  return process.stdin.isTTY && process.stderr.isTTY;
}
