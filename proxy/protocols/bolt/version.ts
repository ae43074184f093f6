/** A version of Bolt; `packed` is its form in the handshake. */
export interface BoltVersion {
  readonly major: number;
  readonly minor: number;
}

/** Magic and four proposals of four bytes. */
export const HANDSHAKE_BYTES = 20;

/** The newest supported minor version of each major. Later ones change the encoding of failures (5.7). */
const NEWEST_MINOR: ReadonlyMap<number, number> = new Map([
  [5, 4],
  [4, 4],
]);

/**
 * Selects the version from a complete handshake. Proposals are in the client's order of preference, each `00 range minor
 * major`, where range is the number of lower minor versions that are acceptable, too (since 4.3). The manifest
 * (`00 00 01 FF`) is skipped: plain versions are simpler, and every driver that supports manifests offers plain ones after
 * it. Null = no common version.
 */
export function chooseVersion(handshake: Buffer): BoltVersion | null {
  for (let offset = 4; offset + 4 <= HANDSHAKE_BYTES && offset + 4 <= handshake.length; offset += 4) {
    const [, range = 0, minor = 0, major = 0] = handshake.subarray(offset, offset + 4);
    const newest = NEWEST_MINOR.get(major);
    if (newest === undefined) continue;
    const chosen = Math.min(minor, newest);
    if (chosen >= minor - range) return { major, minor: chosen };
  }
  return null;
}

export function packVersion(version: BoltVersion | null): Buffer {
  return version === null ? Buffer.alloc(4) : Buffer.from([0, 0, version.minor, version.major]);
}

export function isAtLeast(version: BoltVersion, major: number, minor: number): boolean {
  return version.major > major || (version.major === major && version.minor >= minor);
}
