import { describe, expect, it } from 'vitest';
import { closeFrame } from '../../../proxy/goodbye/websocket-close.ts';
import type { MessageFollower } from '../../../proxy/goodbye/message-follower.ts';
import { PostgresMessages } from '../../../proxy/goodbye/postgres-messages.ts';
import { WebSocketFrames } from '../../../proxy/goodbye/websocket-frames.ts';

function message(type: string, bodyBytes: number): Buffer {
  const bytes = Buffer.alloc(5 + bodyBytes, 'Z');
  bytes.write(type, 'latin1');
  bytes.writeUInt32BE(4 + bodyBytes, 1);
  return bytes;
}

function frame(bodyBytes: number, isMasked: boolean): Buffer {
  const mask = isMasked ? 0x80 : 0;
  const header = Buffer.alloc(bodyBytes < 126 ? 2 : bodyBytes < 65_536 ? 4 : 10);
  header[0] = 0x82;
  header[1] = mask | (header.length === 2 ? bodyBytes : header.length === 4 ? 126 : 127);
  if (header.length === 4) header.writeUInt16BE(bodyBytes, 2);
  if (header.length === 10) header.writeBigUInt64BE(BigInt(bodyBytes), 2);
  return Buffer.concat([header, Buffer.alloc(isMasked ? 4 : 0, 7), Buffer.alloc(bodyBytes, 0x88)]);
}

const KINDS: readonly {
  readonly name: string;
  readonly create: () => MessageFollower;
  readonly messages: readonly Buffer[];
}[] = [
  {
    name: 'messages of a Postgres server',
    create: () => new PostgresMessages(),
    // One whose body looks like ReadyForQuery, and one that is longer than most reads.
    messages: [
      message('R', 4),
      message('Z', 0),
      Buffer.from('D\0\0\0\x0aZ\0\0\0\x05I'),
      message('D', 70_000),
      message('Z', 1),
    ],
  },
  {
    name: 'frames of a WebSocket server',
    create: () => new WebSocketFrames(),
    messages: [0, 1, 125, 126, 300, 65_535, 65_536].map((bytes) => frame(bytes, false)),
  },
  {
    name: 'frames of a WebSocket client',
    create: () => new WebSocketFrames(),
    messages: [0, 1, 125, 126, 300, 65_535, 65_536].map((bytes) => frame(bytes, true)),
  },
];

describe.each(KINDS)('$name', ({ create, messages }) => {
  const all = Buffer.concat(messages);
  const ends = new Set([0]);
  let sum = 0;
  for (const { length } of messages) ends.add((sum += length));
  /** Everywhere near an end, and some places in between. */
  const cuts = [
    ...new Set(
      [...ends].flatMap((end) => [-11, -6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 9, 14].map((by) => end + by)),
    ),
  ].filter((cut) => cut >= 0 && cut <= all.length);

  it('finds message boundaries exactly, with any split of the bytes', () => {
    for (const cut of cuts) {
      for (const second of cuts.filter((each) => each >= cut)) {
        const follower = create();
        follower.follow(all.subarray(0, cut));
        expect([cut, follower.isBetweenMessages]).toEqual([cut, ends.has(cut)]);
        follower.follow(all.subarray(cut, second));
        expect([cut, second, follower.isBetweenMessages]).toEqual([cut, second, ends.has(second)]);
      }
    }
  });

  it('follows the message in progress to its end', () => {
    for (const cut of cuts.filter((each) => !ends.has(each))) {
      const follower = create();
      follower.follow(all.subarray(0, cut));
      const end = Math.min(...[...ends].filter((each) => each > cut));
      // In two pieces, the second of which has more than the end.
      const middle = Math.floor((cut + end) / 2);
      const first = follower.followToEnd(all.subarray(cut, middle));
      expect(first).toBe(-1);
      expect(follower.followToEnd(all.subarray(middle)) + middle).toBe(end);
      expect(follower.isBetweenMessages).toBe(true);
    }
  });
});

describe('stops at messages that are invalid or may not be followed', () => {
  it('handles a last Postgres message without a length', () => {
    const follower = new PostgresMessages();
    follower.follow(Buffer.from('E\0\0\0\x02'));
    expect(follower.isBetweenMessages).toBe(false);
    follower.follow(message('Z', 1));
    expect(follower.isBetweenMessages).toBe(false);
  });

  it('handles a WebSocket that has sent a Close frame', () => {
    const follower = new WebSocketFrames();
    follower.follow(closeFrame('drained', null));
    expect(follower.isBetweenMessages).toBe(false);
  });

  it.each(['drained', 'route-gone', 'client-refused'] as const)(
    'a Close frame for %s fits into a control frame',
    (reason) => {
      expect(closeFrame(reason, null).length - 2).toBeLessThanOrEqual(125);
      expect(closeFrame(reason, null).readUInt16BE(2)).toBe(1001);
      const masked = closeFrame(reason, Buffer.from([1, 2, 3, 4]));
      const follower = new WebSocketFrames();
      follower.follow(frame(3, true));
      expect(follower.followToEnd(masked)).toBe(0);
      expect(masked[1]).toBe(0x80 | (closeFrame(reason, null).length - 2));
    },
  );
});
