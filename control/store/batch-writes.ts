import { PodgateError } from '../../core/errors.ts';

/** One batch cannot give a record two values. It is our own mistake: PodgateError 'api.internal'. */
export function refuseDoubleWrites(writes: readonly { readonly kind: string; readonly key: string }[]): void {
  const named = new Set<string>();
  for (const { kind, key } of writes) {
    const name = `${kind} ${key}`;
    if (named.has(name)) throw new PodgateError('api.internal', { detail: `commit: a batch writes ${name} twice` });
    named.add(name);
  }
}
