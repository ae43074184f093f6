import type { Command } from 'commander';
import { createCommand, type OutputOptions, withJson, withTarget } from '../command.ts';
import { printResult } from '../output/print.ts';
import { formatTable } from '../output/table.ts';
import { callForPod, podPath } from '../pods/pod.ts';
import { chooseTarget, type TargetOptions } from '../target/choose-target.ts';

interface Connections {
  readonly sessions_now: number;
  readonly requests_now: number;
  readonly stanzas: Readonly<
    Record<
      string,
      {
        readonly sessions_now: number;
        readonly requests_now: number;
        readonly sessions_total: number;
        readonly requests_total: number;
        readonly refusals_total: number;
        readonly bytes_in: number;
        readonly bytes_out: number;
      }
    >
  >;
  readonly refusals: readonly {
    readonly time: string;
    readonly code: string;
    readonly message: string;
    readonly address: string;
    readonly protocol: string;
    readonly stanza: string;
    readonly request_id: string;
  }[];
}

export function connectionsCommand(): Command {
  return withTarget(
    withJson(
      createCommand('connections', {
        description:
          'Shows how many clients are connected to a pod, what has passed, and the last refusals with their reasons.',
        examples: [
          ['connections mypg', ''],
          ['connections mypg --json', "as the API's GET /v3/pods/mypg/connections has it"],
        ],
      }),
    ),
  )
    .argument('<pod>')
    .action(async (podId: string, options: OutputOptions & TargetOptions) => {
      const call = { method: 'GET', path: podPath(podId, '/connections') } as const;
      const seen = (await callForPod(chooseTarget(options), podId, call)) as Connections;
      printResult(options, seen, connectionsText(seen));
    });
}

function connectionsText({ sessions_now: sessions, requests_now: requests, stanzas, refusals }: Connections): string {
  const counts = formatTable(
    ['STANZA', 'SESSIONS', 'REQUESTS', 'SESSIONS TOTAL', 'REQUESTS TOTAL', 'REFUSED', 'BYTES IN', 'BYTES OUT'],
    Object.entries(stanzas).map(([name, each]) => [
      name,
      ...[each.sessions_now, each.requests_now, each.sessions_total, each.requests_total].map(String),
      ...[each.refusals_total, each.bytes_in, each.bytes_out].map(String),
    ]),
  );
  const refused = formatTable(
    ['REFUSED AT', 'ADDRESS', 'STANZA', 'PROTOCOL', 'REQUEST', 'REASON'],
    refusals.map(({ time, address, stanza, protocol, request_id: id, message }) => [
      time,
      address,
      stanza,
      protocol,
      id,
      message,
    ]),
  );
  return `${sessions} sessions and ${requests} requests now\n${Object.keys(stanzas).length === 0 ? '' : `\n${counts}`}${refusals.length === 0 ? '' : `\n${refused}`}`;
}
