import { request } from 'node:http';
import { join } from 'node:path';
import { kindOfError } from '../../core/error-code.ts';
import { OPERATOR_SOCKET, type OperatorCalls, type OperatorFailure } from '../../control/operator/operator-handler.ts';
import { CliError, EXIT_FAILED, EXIT_NOT_RUNNING } from '../cli-error.ts';
import { findDataDirectory, readEndpoints, runningSupervisor } from './installation.ts';

/** Recovering many thousand pods takes a while. */
const DEADLINE_MS = 10 * 60_000;

/** Asks the running program of the data directory, over the socket that only its own user can open. */
export async function callOperator<N extends keyof OperatorCalls>(
  name: N,
  argument: Parameters<OperatorCalls[N]>[0],
): Promise<Awaited<ReturnType<OperatorCalls[N]>>> {
  const dataDir = findDataDirectory();
  const socketPath = join(runDirOf(dataDir), OPERATOR_SOCKET);
  const { status, text } = await post({ dataDir, socketPath, path: `/${name}`, text: JSON.stringify(argument) });
  const body = JSON.parse(text) as unknown;
  if (status !== 200) throw new CliError(EXIT_FAILED, (body as OperatorFailure).messages.join(' '));
  return body as Awaited<ReturnType<OperatorCalls[N]>>;
}

/** As the supervisor has recorded it. */
function runDirOf(dataDir: string): string {
  const { runDir } = readEndpoints(dataDir);
  if (typeof runDir === 'string') return runDir;
  throw new CliError(EXIT_NOT_RUNNING, `${dataDir}/endpoints.json is damaged; start Podgate again`);
}

function notServing(dataDir: string): CliError {
  if (runningSupervisor(dataDir) === null) {
    return new CliError(EXIT_NOT_RUNNING, 'Podgate is not running; start it with npm start');
  }
  return new CliError(
    EXIT_FAILED,
    'Podgate is running but does not accept commands yet: it is starting or waiting for Redis. Check its log and /readyz, then try again.',
  );
}

function post(call: {
  readonly dataDir: string;
  readonly socketPath: string;
  readonly path: string;
  readonly text: string;
}): Promise<{ status: number; text: string }> {
  const { dataDir, socketPath, path, text } = call;
  return new Promise((resolve, reject) => {
    const failed = (error: Error): void => {
      const kind = kindOfError(error);
      reject(
        kind === 'absent' || kind === 'refused'
          ? notServing(dataDir)
          : new CliError(EXIT_FAILED, `Podgate does not respond: ${error.message}`),
      );
    };
    const outgoing = request({ socketPath, path, method: 'POST', timeout: DEADLINE_MS }, (answer) => {
      let received = '';
      answer.setEncoding('utf8');
      answer.on('data', (chunk: string) => (received += chunk));
      answer.on('error', failed);
      answer.on('end', () => resolve({ status: answer.statusCode ?? 0, text: received }));
    });
    outgoing.on('error', failed);
    outgoing.on('timeout', () => outgoing.destroy(new Error('it timed out')));
    outgoing.end(text);
  });
}
