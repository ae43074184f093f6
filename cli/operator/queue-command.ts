import type { QueueReport } from '../../control/operator/operator-handler.ts';
import { CliError, EXIT_FAILED, EXIT_USAGE } from '../cli-error.ts';
import { callOperator } from './call-operator.ts';

export const QUEUE_HELP = `npx podgate queue                   list what waits for the spawner, and parked keys with their errors
npx podgate queue retry KEY|--all   retry parked keys now; KEY is <tenant>/<pod id>

A key is parked after its pod has failed to start repeatedly. It is retried after ten minutes, or as soon as the pod is
started or restarted.
`;

/** Answers what to print. */
export async function queueCommand(args: readonly string[]): Promise<string> {
  const [action, key, ...others] = args;
  if (action === undefined) return formatQueue(await callOperator('queue', {}));
  if (action === '--help' || action === '-h') return QUEUE_HELP;
  if (action !== 'retry' || key === undefined || others.length > 0) {
    throw new CliError(EXIT_USAGE, 'usage: npx podgate queue, or: npx podgate queue retry KEY|--all');
  }
  const { count } = await callOperator('retry', { key: key === '--all' ? null : key });
  if (count === 0 && key !== '--all') throw new CliError(EXIT_FAILED, `the key ${key} is not parked`);
  return `${count} ${count === 1 ? 'key is' : 'keys are'} due now\n`;
}

export function formatQueue({ due, delayed, leased, parked, keys }: QueueReport): string {
  const lines = keys.map(
    ({ key, sinceMs, reason }) => `  ${key}  since ${new Date(sinceMs).toISOString()}: ${oneLine(reason)}\n`,
  );
  return `due ${due}, delayed ${delayed}, at work ${leased}, parked ${parked}\n${lines.join('')}`;
}

function oneLine(text: string): string {
  // eslint-disable-next-line no-control-regex -- control characters are what is replaced
  return text.replaceAll(/[\u0000-\u001f\u007f]+/g, ' ');
}
