import type { KeptVolume } from '../../control/resources/pods/kept-volumes.ts';
import { CliError, EXIT_FAILED, EXIT_USAGE } from '../cli-error.ts';
import { callOperator } from './call-operator.ts';

export const KEPT_VOLUMES_HELP = `npx podgate kept-volumes              list the kept volumes of deleted pods (DELETE ?keep_volume=true)
npx podgate kept-volumes remove KEY   delete a volume and its data permanently; KEY is <tenant>/<pod id>/<uid>

A kept volume counts against the volume quota of the user who created its pod. No other pod ever mounts it.
`;

/** Returns what to print. */
export async function keptVolumesCommand(args: readonly string[]): Promise<string> {
  const [action, key, ...others] = args;
  if (action === undefined) return formatKeptVolumes(await callOperator('keptVolumes', {}));
  if (action === '--help' || action === '-h') return KEPT_VOLUMES_HELP;
  if (action !== 'remove' || key === undefined || others.length > 0) {
    throw new CliError(EXIT_USAGE, 'usage: npx podgate kept-volumes, or: npx podgate kept-volumes remove KEY');
  }
  const { kind } = await callOperator('removeKeptVolume', { key });
  switch (kind) {
    case 'removed':
      return `${key} was removed with its data\n`;
    case 'unknown':
      throw new CliError(EXIT_FAILED, `there is no kept volume ${key}; see: npx podgate kept-volumes`);
    case 'pending':
      throw new CliError(EXIT_FAILED, `${key} is still being removed; run the command again in a minute`);
  }
}

export function formatKeptVolumes({ volumes }: { readonly volumes: readonly KeptVolume[] }): string {
  if (volumes.length === 0) return 'no volumes of deleted pods are kept\n';
  return volumes
    .map(
      ({ key, createdBy, volumes: count, keptAtMs }) =>
        `${key}  created by ${createdBy}, ${count} ${count === 1 ? 'volume' : 'volumes'}, kept since ${new Date(keptAtMs).toISOString()}\n`,
    )
    .join('');
}
