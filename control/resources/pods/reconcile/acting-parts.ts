import type { Term } from '../../../../core/leadership.ts';
import type { ReconcileParts } from './reconcile-pod.ts';

/**
 * The parts as the leader uses them: nothing is done once its term is over, and every commit carries its fence, which
 * the store refuses once another has led. A look is no act.
 */
export function actingParts<P extends ReconcileParts>(parts: P, term: Term): P {
  const { store, queue, logs, orchestrator } = parts;
  const act = async <R>(work: () => Promise<R>): Promise<R> => {
    if (term.isOver()) term.signal.throwIfAborted();
    return work();
  };
  return {
    ...parts,
    store: {
      ...store,
      commit: (batch) =>
        act(async () => {
          const result = await store.commit({ ...batch, fence: term.fence });
          if (result.kind === 'fenced') term.end('another has led since');
          return result;
        }),
    },
    queue: { ...queue, add: (key, options) => act(() => queue.add(key, options)) },
    logs: {
      ...logs,
      appendAction: (uid, line) => act(() => logs.appendAction(uid, line)),
      saveOutput: (uid, run, text, mark) => act(() => logs.saveOutput(uid, run, text, mark)),
      appendOutput: (uid, run, text, mark) => act(() => logs.appendOutput(uid, run, text, mark)),
      remove: (uid) => act(() => logs.remove(uid)),
    },
    orchestrator: {
      ...orchestrator,
      remove: (ref, options, signal) => act(() => orchestrator.remove(ref, options, signal)),
    },
  };
}
