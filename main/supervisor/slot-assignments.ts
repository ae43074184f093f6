/** What the supervisor is to do, in order. Children are named by their number. */
export type SlotAction =
  | { readonly kind: 'give'; readonly slot: number; readonly child: number }
  | { readonly kind: 'release'; readonly slot: number; readonly child: number };

/**
 * Who accepts on which set of sockets: child n owns slot n. A slot whose owner has died is given to a sibling, so that
 * connections waiting in it are served, and taken back once the next child of that number accepts on it. Pure: it
 * decides, the supervisor acts.
 */
export class SlotAssignments {
  readonly #slots: readonly { readonly givenTo: Set<number>; readonly accepting: Set<number> }[];
  readonly #able = new Set<number>();
  /** Silent children, with the slots they had accepted on. */
  readonly #silent = new Map<number, ReadonlySet<number>>();

  constructor(slots: number) {
    this.#slots = Array.from({ length: slots }, () => ({ givenTo: new Set<number>(), accepting: new Set<number>() }));
  }

  /** This child has the route table. */
  synchronized(child: number): readonly SlotAction[] {
    this.#able.add(child);
    const actions: SlotAction[] = [];
    for (const slot of this.#slots.keys()) {
      // Also slots that were orphaned while no child was able to accept.
      if (slot === child || this.#isOrphaned(slot)) actions.push(this.#give(slot, child));
    }
    return actions;
  }

  /** This child accepts on all sockets of the slot. */
  listening(child: number, slot: number): readonly SlotAction[] {
    const entry = this.#slots[slot];
    if (entry?.givenTo.has(child) !== true) return [];
    entry.accepting.add(child);
    this.#wasOpen.add(slot);
    if (child !== slot) return [];
    const guests = [...entry.givenTo].filter((other) => other !== child);
    for (const guest of guests) {
      entry.givenTo.delete(guest);
      entry.accepting.delete(guest);
    }
    return guests.map((guest) => ({ kind: 'release', slot, child: guest }));
  }

  /** This child gets another number, since its successor is about to start. It accepts until then, and gets no further slot. */
  renamed(child: number, to: number): void {
    this.#able.delete(child);
    for (const { givenTo, accepting } of this.#slots) {
      if (givenTo.delete(child)) givenTo.add(to);
      if (accepting.delete(child)) accepting.add(to);
    }
  }

  /** This child is gone. */
  ended(child: number): readonly SlotAction[] {
    this.#able.delete(child);
    this.#silent.delete(child);
    const actions: SlotAction[] = [];
    for (const [slot, { givenTo, accepting }] of this.#slots.entries()) {
      accepting.delete(child);
      if (!givenTo.delete(child)) continue;
      const [sibling] = this.#able;
      if (sibling !== undefined && this.#isOrphaned(slot)) actions.push(this.#give(slot, sibling));
    }
    return actions;
  }

  /** This child does not respond: a sibling gets its slots too, and gives them back if it recovers. */
  silent(child: number): readonly SlotAction[] {
    if (!this.#able.delete(child)) return [];
    const held = [...this.#slots.entries()].filter(([, { accepting }]) => accepting.delete(child));
    this.#silent.set(child, new Set(held.map(([slot]) => slot)));
    const [sibling] = this.#able;
    if (sibling === undefined) return [];
    return held.filter(([slot]) => this.#isOrphaned(slot)).map(([slot]) => this.#give(slot, sibling));
  }

  recovered(child: number): readonly SlotAction[] {
    const held = this.#silent.get(child);
    if (held === undefined) return [];
    this.#silent.delete(child);
    this.#able.add(child);
    const released = [...held].flatMap((slot) => this.listening(child, slot));
    const orphaned = [...this.#slots.keys()].filter((slot) => this.#isOrphaned(slot));
    return [...released, ...orphaned.map((slot) => this.#give(slot, child))];
  }

  /** Slots that some child accepts on. */
  get accepting(): number {
    return this.#slots.filter(({ accepting }) => accepting.size > 0).length;
  }

  get slots(): number {
    return this.#slots.length;
  }

  /** Does every slot have its own child? */
  get isComplete(): boolean {
    return this.#slots.every(({ accepting }, slot) => accepting.has(slot));
  }

  /** Before its first child listens, nothing waits in a slot. */
  readonly #wasOpen = new Set<number>();

  /** Connections wait in it, and no responsive child has it. */
  #isOrphaned(slot: number): boolean {
    const givenTo = this.#slots[slot]?.givenTo ?? [];
    return this.#wasOpen.has(slot) && [...givenTo].every((child) => this.#silent.has(child));
  }

  #give(slot: number, child: number): SlotAction {
    this.#slots[slot]?.givenTo.add(child);
    return { kind: 'give', slot, child };
  }
}
