import { untilAborted } from '../../core/abort.ts';
import type { Replicas } from '../../core/replicas.ts';

/** Of a store that one process owns: there are no others. */
export function createOneReplica({ id, shared }: { readonly id: string; readonly shared: string }): Replicas {
  const agreed = new Map<string, string>();
  const itself = [{ id, shared }];
  return {
    id,
    live: () => itself,
    publish: () => undefined,
    listen: () => () => undefined,
    async agree(name, value) {
      const first = agreed.get(name) ?? value;
      agreed.set(name, first);
      return first;
    },
    async settle(name, value) {
      agreed.set(name, value);
    },
    async forget(name) {
      agreed.delete(name);
    },
    run: untilAborted,
  };
}
