import { describe, expect, test } from 'vitest';
import { SlotAssignments } from '../../../main/supervisor/slot-assignments.ts';

function twoWorkers(): SlotAssignments {
  const slots = new SlotAssignments(2);
  for (const child of [0, 1]) {
    slots.synchronized(child);
    slots.listening(child, child);
  }
  return slots;
}

describe('at the start', () => {
  test('each worker gets its own slot once it has the route table', () => {
    const slots = new SlotAssignments(2);
    expect(slots.synchronized(1)).toEqual([{ kind: 'give', slot: 1, child: 1 }]);
    expect(slots.synchronized(0)).toEqual([{ kind: 'give', slot: 0, child: 0 }]);
    expect(slots.isComplete).toBe(false);
    slots.listening(0, 0);
    expect(slots.accepting).toBe(1);
    slots.listening(1, 1);
    expect(slots.isComplete).toBe(true);
  });
});

describe('when a worker dies', () => {
  test('a sibling accepts for it, and returns the slot once the replacement listens', () => {
    const slots = twoWorkers();
    expect(slots.ended(0)).toEqual([{ kind: 'give', slot: 0, child: 1 }]);
    slots.listening(1, 0);
    expect(slots.accepting).toBe(2);
    expect(slots.isComplete).toBe(false);
    expect(slots.synchronized(0)).toEqual([{ kind: 'give', slot: 0, child: 0 }]);
    expect(slots.listening(0, 0)).toEqual([{ kind: 'release', slot: 0, child: 1 }]);
    expect(slots.isComplete).toBe(true);
  });

  test('and its sibling dies too, both slots go to the first worker that becomes able', () => {
    const slots = twoWorkers();
    slots.ended(0);
    slots.listening(1, 0);
    expect(slots.ended(1)).toEqual([]);
    expect(slots.accepting).toBe(0);
    expect(slots.synchronized(1)).toEqual([
      { kind: 'give', slot: 0, child: 1 },
      { kind: 'give', slot: 1, child: 1 },
    ]);
  });

  test('before its slot was ever open, there is nothing to take over', () => {
    const slots = new SlotAssignments(2);
    slots.synchronized(0);
    slots.listening(0, 0);
    slots.ended(1);
    expect(slots.accepting).toBe(1);
    expect(slots.synchronized(0)).toEqual([{ kind: 'give', slot: 0, child: 0 }]);
  });

  test('its late message about a slot that another worker has now changes nothing', () => {
    const slots = twoWorkers();
    slots.ended(0);
    expect(slots.listening(0, 0)).toEqual([]);
    expect(slots.isComplete).toBe(false);
  });
});

describe('when a worker is replaced', () => {
  test('the old one accepts until the new one does, and then stops', () => {
    const slots = twoWorkers();
    slots.renamed(0, 2);
    expect(slots.accepting).toBe(2);
    expect(slots.isComplete).toBe(false);
    expect(slots.synchronized(0)).toEqual([{ kind: 'give', slot: 0, child: 0 }]);
    expect(slots.listening(0, 0)).toEqual([{ kind: 'release', slot: 0, child: 2 }]);
    expect(slots.isComplete).toBe(true);
    expect(slots.ended(2)).toEqual([]);
  });

  test('and the old one dies too early, a sibling accepts meanwhile', () => {
    const slots = twoWorkers();
    slots.renamed(0, 2);
    expect(slots.ended(2)).toEqual([{ kind: 'give', slot: 0, child: 1 }]);
    slots.listening(1, 0);
    slots.synchronized(0);
    expect(slots.listening(0, 0)).toEqual([{ kind: 'release', slot: 0, child: 1 }]);
  });

  test('it does not take over the slot of a sibling that dies', () => {
    const slots = twoWorkers();
    slots.renamed(0, 2);
    expect(slots.ended(1)).toEqual([]);
    expect(slots.synchronized(0)).toEqual([
      { kind: 'give', slot: 0, child: 0 },
      { kind: 'give', slot: 1, child: 0 },
    ]);
  });
});

describe('when a worker sends no heartbeat', () => {
  test('a sibling accepts beside it, and stops when it recovers', () => {
    const slots = twoWorkers();
    expect(slots.silent(0)).toEqual([{ kind: 'give', slot: 0, child: 1 }]);
    expect(slots.accepting).toBe(1);
    slots.listening(1, 0);
    expect(slots.accepting).toBe(2);
    expect(slots.recovered(0)).toEqual([{ kind: 'release', slot: 0, child: 1 }]);
    expect(slots.isComplete).toBe(true);
    expect(slots.recovered(0)).toEqual([]);
  });

  test('and is killed, the sibling goes on until the next one listens', () => {
    const slots = twoWorkers();
    slots.silent(0);
    slots.listening(1, 0);
    expect(slots.ended(0)).toEqual([]);
    expect(slots.accepting).toBe(2);
    slots.synchronized(0);
    expect(slots.listening(0, 0)).toEqual([{ kind: 'release', slot: 0, child: 1 }]);
  });

  test('and neither does its sibling, its slot goes to the first worker that recovers', () => {
    const slots = new SlotAssignments(3);
    for (const child of [0, 1, 2]) {
      slots.synchronized(child);
      slots.listening(child, child);
    }
    expect(slots.silent(0)).toEqual([{ kind: 'give', slot: 0, child: 1 }]);
    slots.listening(1, 0);
    expect(slots.silent(1)).toEqual([
      { kind: 'give', slot: 0, child: 2 },
      { kind: 'give', slot: 1, child: 2 },
    ]);
    expect(slots.silent(2)).toEqual([]);
    expect(slots.accepting).toBe(0);
    expect(slots.recovered(2)).toEqual([]);
    expect(slots.accepting).toBe(1);
    slots.listening(2, 0);
    slots.listening(2, 1);
    expect(slots.accepting).toBe(3);
    expect(slots.recovered(1)).toEqual([{ kind: 'release', slot: 1, child: 2 }]);
  });

  test('before it has the route table, its slot stays with it', () => {
    const slots = new SlotAssignments(2);
    expect(slots.silent(0)).toEqual([]);
  });
});
