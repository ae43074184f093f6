import type { Command } from 'commander';
import type { Finding } from '../../core/finding.ts';
import { asTyped } from '../called-as.ts';
import { CliError, EXIT_FAILED } from '../cli-error.ts';
import { createCommand, type OutputOptions, withJson, withTarget } from '../command.ts';
import { examineFromHere } from '../explain/examine-from-here.ts';
import { type Steps, waterfallText } from '../explain/waterfall.ts';
import { printResult } from '../output/print.ts';
import { paint, type Style } from '../output/style.ts';
import { oneLine } from '../output/table.ts';
import { callForPod, podPath } from '../pods/pod.ts';
import { chooseTarget, type TargetOptions } from '../target/choose-target.ts';

interface Explanation {
  readonly pod_id: string;
  readonly status: string;
  readonly summary: Finding;
  readonly stanzas: readonly {
    readonly stanza: string;
    readonly host: string;
    readonly port: number;
    readonly protocol: string;
    readonly findings: readonly Finding[];
    readonly attempt: (Steps & { readonly request_id: string | null }) | null;
  }[];
  readonly connection:
    | (Steps & {
        readonly time: string;
        readonly address: string;
        readonly protocol: string;
        readonly stanza: string;
      })
    | null;
}

interface ExplainOptions extends OutputOptions, TargetOptions {
  readonly address?: string;
  readonly id?: string;
}

export function explainCommand(): Command {
  return withTarget(
    withJson(
      createCommand('explain', {
        description: `Says why a pod can or cannot be reached: checks the name from this machine and from Podgate's, the
        route, the certificate and the list of allowed addresses, and makes one attempt through the gateway for each
        entry of the pod's networking.`,
        examples: [
          ['explain mypg', 'all entries of its networking'],
          ['explain mypg.pods.example.org', 'the one with this host name'],
          ['explain mypg --address 192.0.2.7', 'whether this client may connect, too'],
          ['explain mypg --id 210A-tJzgG6H', 'what happened to the request with this ID'],
        ],
        exitCodes:
          '0 it can be reached, 1 it cannot, or the command failed, 2 usage error, 3 Podgate is not running or cannot be reached',
      }),
    ),
  )
    .argument('<pod or host>')
    .option('--address <ip>', 'check this client address against ip_allow_list')
    .option(
      '--id <request id>',
      'explain the request with this ID, as an error page, a Postgres HINT or a Bolt message names it',
    )
    .action(async (hostOrPod: string, options: ExplainOptions) => {
      const target = chooseTarget(options);
      const { podId, stanza } = parseHostOrPod(hostOrPod);
      const query = new URLSearchParams({
        ...(stanza === null ? {} : { stanza }),
        ...(options.address === undefined ? {} : { address: options.address }),
        ...(options.id === undefined ? {} : { request_id: options.id }),
      }).toString();
      const path = podPath(podId, `/explain${query === '' ? '' : `?${query}`}`);
      const explained = (await callForPod(target, podId, { method: 'GET', path })) as Explanation;
      const here = await Promise.all(
        explained.stanzas.map(async (each) => ({
          stanza: each.stanza,
          findings: await examineFromHere(target, each),
        })),
      );
      const failed = [explained.summary, ...here.flatMap(({ findings }) => findings)].find(
        ({ level }) => level === 'fail',
      );
      printResult(options, { ...explained, here }, explanationText(explained, here, failed ?? explained.summary));
      if (failed !== undefined) throw new CliError(EXIT_FAILED, oneLine(failed.message));
    });
}

/** `mypg`, or a host name: `mypg-web.pods.example.org` is the stanza web of mypg, since IDs of pods hold no hyphen. */
export function parseHostOrPod(text: string): { readonly podId: string; readonly stanza: string | null } {
  const host = /^(?:[a-z+.]+:\/\/)?(?:[^/@]*@)?([^/:?#]*)/i.exec(text)?.[1]?.toLowerCase() ?? text;
  const isHost = host.includes('.');
  const [label = ''] = host.split('.');
  const [podId = '', stanza] = label.split('-');
  return { podId, stanza: stanza ?? (isHost ? 'default' : null) };
}

function explanationText(
  { stanzas, connection }: Explanation,
  here: readonly { readonly stanza: string; readonly findings: readonly Finding[] }[],
  verdict: Finding,
): string {
  const parts = stanzas.map(({ stanza, host, port, protocol, findings, attempt }) => {
    const mine = here.find((each) => each.stanza === stanza)?.findings ?? [];
    const bars =
      attempt === null
        ? ''
        : `\n  One attempt through the gateway${attempt.request_id === null ? '' : ` (request ${attempt.request_id})`}:\n${waterfallText(attempt)}`;
    const lines = [...mine, ...findings].map(findingText).join('');
    return `${paint('bold', `${host}, port ${port} (${protocol})`)}\n${lines}${bars}\n`;
  });
  const past =
    connection === null
      ? ''
      : `${paint('bold', `${connection.time}  ${connection.address}  ${connection.protocol}, ${connection.stanza}`)}\n${waterfallText(connection)}\n`;
  return `${parts.join('')}${past}${findingText(verdict)}`;
}

const MARKS: Readonly<Record<Finding['level'], readonly [mark: string, style: Style]>> = {
  ok: ['ok  ', 'green'],
  warn: ['warn', 'yellow'],
  fail: ['FAIL', 'red'],
};

function findingText({ level, message, remedy }: Finding): string {
  const [mark, style] = MARKS[level];
  return `  ${paint(style, mark)}  ${oneLine(message)}${remedy === '' ? '' : `\n        ${oneLine(asTyped(remedy))}`}\n`;
}
