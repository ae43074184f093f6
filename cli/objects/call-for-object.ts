import { CliError, EXIT_FAILED } from '../cli-error.ts';
import { nearestTo } from '../output/nearest.ts';
import { type ApiCall, callApi, refusalOf } from '../target/call-api.ts';
import type { Target } from '../target/target.ts';

/** A kind of object of the API, as commands name it. */
export interface ObjectKind {
  /** `volume`, in sentences. */
  readonly noun: string;
  /** Path of the list: `/v3/pods/volumes`. */
  readonly collection: string;
  /** The field that names one: `volume_id`. */
  readonly idField: string;
}

export function objectPath({ collection }: ObjectKind, id: string, below = ''): string {
  return `${collection}/${encodeURIComponent(id)}${below}`;
}

/** `result` of a call about one object. Throws CliError; where there is no such object, with the name that was probably meant. */
export async function callForObject(target: Target, kind: ObjectKind, id: string, call: ApiCall): Promise<unknown> {
  const reply = await callApi(target, call);
  if (reply.status >= 200 && reply.status < 300 && (reply.outcome === 'success' || reply.result !== null)) {
    return reply.result;
  }
  if (reply.status !== 404) throw refusalOf(target, reply);
  const listed = await callApi(target, { method: 'GET', path: kind.collection });
  const rows = listed.status === 200 ? (listed.result as readonly Readonly<Record<string, unknown>>[]) : [];
  const ids = rows.map((row) => String(row[kind.idField]));
  // What is missing may be below the object, such as a file.
  if (ids.includes(id)) throw refusalOf(target, reply);
  const near = nearestTo(id, ids);
  throw new CliError(EXIT_FAILED, `there is no ${kind.noun} ${id}${near === null ? '' : `; did you mean ${near}?`}`);
}
