import type { Command } from 'commander';
import { CliError, EXIT_FAILED } from '../cli-error.ts';
import { createCommand, type OutputOptions, withJson, withTarget } from '../command.ts';
import { chooseStanza } from '../connect/stanza-access.ts';
import { browse } from '../output/browse.ts';
import { print, printJson } from '../output/print.ts';
import { addressText } from '../pods/pod-text.ts';
import { type Pod, readPod, type Stanza } from '../pods/pod.ts';
import { chooseTarget, type TargetOptions } from '../target/choose-target.ts';

interface OpenOptions extends OutputOptions, TargetOptions {
  readonly stanza?: string;
  readonly print?: boolean;
}

export function openCommand(): Command {
  return withTarget(
    withJson(
      createCommand('open', {
        description: `Opens a pod in your browser: its first HTTP entry of networking, such as Neo4j Browser of a Neo4j pod.`,
        examples: [
          ['open hello', ''],
          ['open mygraph --print', 'only print the URL'],
        ],
      }),
    ),
  )
    .argument('<pod>')
    .option('--stanza <name>', 'entry of its networking (default: the first one with HTTP)')
    .option('--print', 'only print the URL')
    .action(async (podId: string, options: OpenOptions) => {
      const url = addressText(httpStanza(await readPod(chooseTarget(options), podId), options.stanza));
      if (options.json === true) printJson({ pod_id: podId, url });
      else if (options.print === true || !(await browse(url))) print(`${url}\n`);
    });
}

function httpStanza(pod: Pod, name: string | undefined): Stanza {
  const isHttp = ({ protocol, url }: Stanza): boolean => protocol === 'http' && url !== '';
  const stanza = name === undefined ? Object.values(pod.networking).find(isHttp) : chooseStanza(pod, name);
  if (stanza !== undefined && isHttp(stanza)) return stanza;
  throw new CliError(EXIT_FAILED, `pod ${pod.pod_id} has nothing for a browser; see: podgate url ${pod.pod_id}`);
}
