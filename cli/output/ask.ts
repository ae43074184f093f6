import { CliError, EXIT_FAILED, EXIT_USAGE } from '../cli-error.ts';

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

/** Returns when its user agrees. Throws CliError with `refusal`, such as 'nothing was deleted', otherwise. */
export async function requireAgreement(question: string, refusal: string): Promise<void> {
  if (!canAsk()) throw new CliError(EXIT_USAGE, `${refusal}: without a terminal to ask on, use --yes`);
  if (!(await ask(question))) throw new CliError(EXIT_FAILED, refusal);
}
