import type { Change, RecordTypes } from '../../../core/store.ts';
import { eventText } from '../../http/event-text.ts';
import { levelOf } from '../access.ts';
import type { EventQueue } from './event-queue.ts';
import { placeText } from './feed-place.ts';
import type { ChangesView, ObjectRecordKind, ObservedKind } from './observed-kind.ts';
import type { PlacedChange } from './placed-changes.ts';

/** Says that changes were lost: what was known is to be read again. */
const RESET = 'reset';

/** Makes the events of one stream: of the changes that its caller may see. */
export class EventSelection {
  readonly #kinds: ReadonlyMap<string, ObservedKind>;
  readonly #view: ChangesView;
  readonly #queue: EventQueue;
  /** What the caller can see, as `noun id`: without it, nobody could be told that an object is out of their reach. */
  readonly #visible = new Set<string>();

  constructor(options: {
    readonly kinds: readonly ObservedKind[];
    readonly view: ChangesView;
    readonly queue: EventQueue;
  }) {
    this.#kinds = new Map(options.kinds.map((kind) => [kind.kind, kind]));
    this.#view = options.view;
    this.#queue = options.queue;
  }

  /** To be called once changes are selected: what becomes visible meanwhile is added by its change. */
  async readVisible(): Promise<void> {
    const { caller, isAdminView } = this.#view;
    if (isAdminView) return;
    for (const kind of this.#kinds.values())
      for await (const id of kind.visibleIds(caller)) this.#visible.add(`${kind.noun} ${id}`);
  }

  reset({ place }: Pick<PlacedChange, 'place'>): void {
    const data = { reason: 'Changes were lost: read the lists again.' };
    this.#queue.push(eventText({ id: placeText(place), event: RESET, data }));
  }

  select({ place, change }: PlacedChange): void {
    if (change.kind === 'gap') {
      this.reset({ place });
      return;
    }
    const event = this.#eventOf(change);
    if (event !== null) this.#queue.push(eventText({ id: placeText(place), ...event }));
  }

  /** A tombstone makes none: that the object is on its way out was a change before. */
  #eventOf(change: Exclude<Change, { kind: 'gap' }>): { readonly event: string; readonly data: object } | null {
    if (change.kind === 'delete') return null;
    const { kind, value } = change.record;
    const observed = this.#kinds.get(kind);
    if (observed === undefined) return null;
    const { noun } = observed;
    // Of this kind, so it has permissions.
    const record = value as RecordTypes[ObjectRecordKind];
    if (record.tenant !== this.#view.caller.tenant) return null;
    const id = observed.idOf(record);
    const name = `${noun} ${id}`;
    const isShared = this.#view.isAdminView || levelOf(record, this.#view.caller.username) !== null;
    if (isShared && record.deleting === null) {
      this.#visible.add(name);
      const summary = observed.summaryOf(record, this.#view);
      return { event: noun, data: { [`${noun}_id`]: id, change: 'changed', ...summary } };
    }
    const wasVisible = this.#visible.delete(name);
    return wasVisible || isShared ? { event: noun, data: { [`${noun}_id`]: id, change: 'gone' } } : null;
  }
}
