import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { errorText } from '../../core/errors.ts';
import { CliError, EXIT_USAGE } from '../cli-error.ts';
import { createCommand, withJson, withTarget, withWait } from '../command.ts';
import { parseDuration } from '../duration.ts';
import type { WaitOptions } from '../pods/run-wish.ts';
import { startNewPod } from '../pods/start-new-pod.ts';

export interface CreateOptions {
  readonly template?: string;
  readonly image?: string;
  readonly port?: string;
  readonly protocol?: string;
  readonly env?: readonly string[];
  readonly persistent?: boolean;
  readonly stopAfter?: string;
  readonly sleepAfter?: string;
  readonly description?: string;
  readonly cpu?: string;
  readonly memory?: string;
  readonly stopped?: boolean;
  readonly file?: string;
}

export function createPodCommand(): Command {
  return withWait(
    withTarget(
      withJson(
        createCommand('create', {
          description: `Creates a pod from a template or an image, and waits until every gateway routes to it.

Podgate's own templates: postgres, neo4j, podgate/hello (a small web server), podgate/process (runs a command). For
everything the options do not cover, --file takes the body of the API's POST /v3/pods; options override it.`,
          examples: [
            ['create mypg --template postgres', ''],
            ['create mygraph --template neo4j --persistent', ''],
            ['create web --image nginx:1.27 --port 80', 'where the installation allows images'],
            ["create files --template podgate/process -- sh -c 'exec python3 -m http.server $PORT'", ''],
            ['create --file pod.json', ''],
          ],
        }),
      ),
    ),
  )
    .usage('[options] [pod] [-- command...]')
    .argument('[pod]', 'its name: lower-case letters and digits')
    .argument('[command...]', 'what the pod runs, after --')
    .option('-t, --template <name>', 'postgres, neo4j, podgate/hello, podgate/process')
    .option('-i, --image <name>', 'a container image')
    .option('-p, --port <port>', 'port on which the program listens')
    .option('--protocol <name>', 'http, tcp or postgres (default: http)')
    .option('-e, --env <NAME=value...>', 'environment variables')
    .option('--persistent', "keep the template's data when the pod stops")
    .option('--stop-after <duration>', 'stop it this long after its start, such as 12h, or never')
    .option('--sleep-after <duration>', 'let it sleep after this long without use, such as 15m; a client wakes it')
    .option('--cpu <millicpu>', 'limit')
    .option('--memory <MiB>', 'limit')
    .option('--description <text>')
    .option('--stopped', 'do not start it')
    .option('-f, --file <file>', 'JSON body of POST /v3/pods; - reads stdin')
    .action(async (podId: string | undefined, command: readonly string[], options: CreateOptions & WaitOptions) => {
      const body = podBodyOf(podId, command, options);
      await startNewPod(String(body['pod_id']), { path: '/v3/pods', body }, options);
    });
}

/** The body of the API's create call. Pure but for --file. Throws CliError 'usage'. */
export function podBodyOf(
  podId: string | undefined,
  command: readonly string[],
  options: CreateOptions,
): Readonly<Record<string, unknown>> {
  const body: Record<string, unknown> = options.file === undefined ? {} : readBody(options.file);
  if (podId !== undefined) body['pod_id'] = podId;
  if (options.template !== undefined && options.image !== undefined) {
    throw new CliError(EXIT_USAGE, '--template and --image exclude each other');
  }
  const template = options.template ?? options.image;
  if (template !== undefined) body['pod_template'] = template;
  if (typeof body['pod_id'] !== 'string') throw new CliError(EXIT_USAGE, 'name the pod: podgate create <pod> ...');
  if (options.file === undefined && template === undefined) {
    throw new CliError(
      EXIT_USAGE,
      'name a template or an image, such as --template postgres; see: podgate create --help',
    );
  }
  if (command.length > 0) body['command'] = command;
  if (options.port !== undefined || options.protocol !== undefined) {
    body['networking'] = {
      default: {
        ...(options.protocol === undefined ? {} : { protocol: options.protocol }),
        ...(options.port === undefined ? {} : { port: wholeNumber('--port', options.port) }),
      },
    };
  }
  if (options.env !== undefined) body['environment_variables'] = Object.fromEntries(options.env.map(variableOf));
  if (options.persistent === true) body['persistent_volume'] = true;
  if (options.stopAfter !== undefined) body['time_to_stop_default'] = stopAfterSeconds(options.stopAfter);
  if (options.sleepAfter !== undefined) body['sleep'] = { after_seconds: sleepAfterSeconds(options.sleepAfter) };
  if (options.description !== undefined) body['description'] = options.description;
  if (options.cpu !== undefined || options.memory !== undefined) {
    body['resources'] = {
      ...(options.cpu === undefined ? {} : { cpu_limit: wholeNumber('--cpu', options.cpu) }),
      ...(options.memory === undefined ? {} : { mem_limit: wholeNumber('--memory', options.memory) }),
    };
  }
  if (options.stopped === true) body['status_requested'] = 'OFF';
  return body;
}

function readBody(file: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(file === '-' ? 0 : file, 'utf8'));
  } catch (error) {
    throw new CliError(EXIT_USAGE, `--file ${file}: ${errorText(error)}`);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new CliError(EXIT_USAGE, `--file ${file}: must be a JSON object`);
  }
  return { ...value };
}

function variableOf(text: string): readonly [string, string] {
  const at = text.indexOf('=');
  if (at < 1) throw new CliError(EXIT_USAGE, `--env ${text}: must be NAME=value`);
  return [text.slice(0, at), text.slice(at + 1)];
}

function stopAfterSeconds(text: string): number {
  const seconds = text === 'never' ? -1 : parseDuration(text);
  if (seconds === null) throw new CliError(EXIT_USAGE, '--stop-after must be a number with s, m, h or d, or never');
  return seconds;
}

function sleepAfterSeconds(text: string): number {
  const seconds = parseDuration(text);
  if (seconds === null) throw new CliError(EXIT_USAGE, '--sleep-after must be a number with s, m, h or d');
  return seconds;
}

function wholeNumber(option: string, text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new CliError(EXIT_USAGE, `${option} must be a whole number`);
  return Number(text);
}
