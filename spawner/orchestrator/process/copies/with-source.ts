import { kindOfError } from '../../../../core/error-code.ts';
import { errorText, PodgateError } from '../../../../core/errors.ts';
import type { DataSource, OpenedData } from './data-sources.ts';

/**
 * Copies the data of a source by `copy`, whose signal also aborts with the source. Throws PodgateError, for users, unless
 * `signal` has aborted.
 */
export async function withSource(
  source: DataSource,
  signal: AbortSignal,
  copy: (opened: OpenedData, signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const opened = await source.open(signal);
  source.say(`Copies the data of ${source.name}.`);
  try {
    await copy(opened, AbortSignal.any([signal, opened.signal]));
    source.say('');
  } catch (error) {
    if (signal.aborted) throw error;
    throw opened.signal.aborted ? interrupted(source) : sourceFailure(error, source);
  } finally {
    await opened.close();
  }
}

function interrupted({ name }: DataSource): PodgateError {
  return new PodgateError('orchestrator.unavailable', {
    publicMessages: [`${capitalized(name)} was started or deleted while its data was copied.`],
  });
}

function sourceFailure(error: unknown, { name }: DataSource): PodgateError {
  const about = `The data of ${name} could not be copied.`;
  if (error instanceof PodgateError) {
    return new PodgateError(error.code, { publicMessages: [about, ...error.publicMessages], cause: error });
  }
  if (isDiskFull(error)) {
    return new PodgateError('api.too-large', {
      publicMessages: [about, 'The disk of this machine is full.'],
      cause: error,
    });
  }
  return new PodgateError('orchestrator.unavailable', {
    publicMessages: [about],
    detail: errorText(error),
    cause: error,
  });
}

function capitalized(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}`;
}

export function isDiskFull(error: unknown): boolean {
  return kindOfError(error) === 'full';
}
