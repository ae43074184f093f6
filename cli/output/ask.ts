/** Asks on the terminal. False: no, or Ctrl-C. Call it only where there is one (`canAsk`). */
export async function ask(message: string): Promise<boolean> {
  const { confirm } = await import('@clack/prompts');
  return (await confirm({ message, initialValue: false, output: process.stderr })) === true;
}

export function canAsk(): boolean {
  return process.stdin.isTTY && process.stderr.isTTY;
}
