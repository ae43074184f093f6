import { describe, expect, test } from 'vitest';
import { SlotBoard } from '../../../main/slot-board.ts';

function twoWorkers(): SlotBoard {
  const board = new SlotBoard(2);
  for (const child of [0, 1]) {
    board.synchronized(child);
    board.listening(child, child);
  }
  return board;
}

describe('at the start', () => {
  test('each worker gets its own slot once it has the route table', () => {
    const board = new SlotBoard(2);
    expect(board.synchronized(1)).toEqual([{ kind: 'give', slot: 1, child: 1 }]);
    expect(board.synchronized(0)).toEqual([{ kind: 'give', slot: 0, child: 0 }]);
    expect(board.isComplete).toBe(false);
    board.listening(0, 0);
    expect(board.accepting).toBe(1);
    board.listening(1, 1);
    expect(board.isComplete).toBe(true);
  });
});

describe('when a worker dies', () => {
  test('a sibling accepts for it, and gives the slot back once the next one listens', () => {
    const board = twoWorkers();
    expect(board.ended(0)).toEqual([{ kind: 'give', slot: 0, child: 1 }]);
    board.listening(1, 0);
    expect(board.accepting).toBe(2);
    expect(board.isComplete).toBe(false);
    expect(board.synchronized(0)).toEqual([{ kind: 'give', slot: 0, child: 0 }]);
    expect(board.listening(0, 0)).toEqual([{ kind: 'release', slot: 0, child: 1 }]);
    expect(board.isComplete).toBe(true);
  });

  test('and the sibling dies too, both slots wait for whoever is able first', () => {
    const board = twoWorkers();
    board.ended(0);
    board.listening(1, 0);
    expect(board.ended(1)).toEqual([]);
    expect(board.accepting).toBe(0);
    expect(board.synchronized(1)).toEqual([
      { kind: 'give', slot: 0, child: 1 },
      { kind: 'give', slot: 1, child: 1 },
    ]);
  });

  test('before its slot was ever open, nothing waits in it', () => {
    const board = new SlotBoard(2);
    board.synchronized(0);
    board.listening(0, 0);
    board.ended(1);
    expect(board.accepting).toBe(1);
    expect(board.synchronized(0)).toEqual([{ kind: 'give', slot: 0, child: 0 }]);
  });

  test('its late message about a slot that is another one’s now changes nothing', () => {
    const board = twoWorkers();
    board.ended(0);
    expect(board.listening(0, 0)).toEqual([]);
    expect(board.isComplete).toBe(false);
  });
});

describe('when a worker is replaced', () => {
  test('the old one accepts until the new one does, and then lets go', () => {
    const board = twoWorkers();
    board.renamed(0, 2);
    expect(board.accepting).toBe(2);
    expect(board.isComplete).toBe(false);
    expect(board.synchronized(0)).toEqual([{ kind: 'give', slot: 0, child: 0 }]);
    expect(board.listening(0, 0)).toEqual([{ kind: 'release', slot: 0, child: 2 }]);
    expect(board.isComplete).toBe(true);
    expect(board.ended(2)).toEqual([]);
  });

  test('and the old one dies too early, a sibling accepts meanwhile', () => {
    const board = twoWorkers();
    board.renamed(0, 2);
    expect(board.ended(2)).toEqual([{ kind: 'give', slot: 0, child: 1 }]);
    board.listening(1, 0);
    board.synchronized(0);
    expect(board.listening(0, 0)).toEqual([{ kind: 'release', slot: 0, child: 1 }]);
  });

  test('it gets no slot of a sibling that dies', () => {
    const board = twoWorkers();
    board.renamed(0, 2);
    expect(board.ended(1)).toEqual([]);
    expect(board.synchronized(0)).toEqual([
      { kind: 'give', slot: 0, child: 0 },
      { kind: 'give', slot: 1, child: 0 },
    ]);
  });
});

describe('when a worker gives no sign of life', () => {
  test('a sibling accepts beside it, and stops when it recovers', () => {
    const board = twoWorkers();
    expect(board.silent(0)).toEqual([{ kind: 'give', slot: 0, child: 1 }]);
    expect(board.accepting).toBe(1);
    board.listening(1, 0);
    expect(board.accepting).toBe(2);
    expect(board.recovered(0)).toEqual([{ kind: 'release', slot: 0, child: 1 }]);
    expect(board.isComplete).toBe(true);
    expect(board.recovered(0)).toEqual([]);
  });

  test('and is killed, the sibling goes on until the next one listens', () => {
    const board = twoWorkers();
    board.silent(0);
    board.listening(1, 0);
    expect(board.ended(0)).toEqual([]);
    expect(board.accepting).toBe(2);
    board.synchronized(0);
    expect(board.listening(0, 0)).toEqual([{ kind: 'release', slot: 0, child: 1 }]);
  });

  test('and neither does its sibling, its slot goes to the first that recovers', () => {
    const board = new SlotBoard(3);
    for (const child of [0, 1, 2]) {
      board.synchronized(child);
      board.listening(child, child);
    }
    expect(board.silent(0)).toEqual([{ kind: 'give', slot: 0, child: 1 }]);
    board.listening(1, 0);
    expect(board.silent(1)).toEqual([
      { kind: 'give', slot: 0, child: 2 },
      { kind: 'give', slot: 1, child: 2 },
    ]);
    expect(board.silent(2)).toEqual([]);
    expect(board.accepting).toBe(0);
    expect(board.recovered(2)).toEqual([]);
    expect(board.accepting).toBe(1);
    board.listening(2, 0);
    board.listening(2, 1);
    expect(board.accepting).toBe(3);
    expect(board.recovered(1)).toEqual([{ kind: 'release', slot: 1, child: 2 }]);
  });

  test('before it has the route table, nothing is given away', () => {
    const board = new SlotBoard(2);
    expect(board.silent(0)).toEqual([]);
  });
});
