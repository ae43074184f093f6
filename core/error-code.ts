/** What the code of a Node error means, as far as anything here decides by it. */
export type ErrorCodeKind =
  /** No such file, or no such Unix socket. */
  | 'absent'
  | 'exists'
  | 'forbidden'
  /** Nobody listens there. */
  | 'refused'
  | 'address-in-use'
  /** This machine does not have the address, or its family. */
  | 'no-such-address'
  /** Neither this process nor this machine can open one more file or socket: says nothing about the other side. */
  | 'no-descriptors'
  /** Somebody uses it in a way that rules this out. */
  | 'busy'
  /** The disk, or the quota of its user. */
  | 'full'
  /** The file system is mounted read-only. */
  | 'read-only'
  /** A part of the path, or what was opened as a directory. */
  | 'not-a-directory'
  /** A symbolic link where links are not followed. */
  | 'link'
  /** The DNS says that there is no such name, or no such record of it. */
  | 'no-such-name'
  | 'other';

/** The one table: codes of libuv (`man 3 errno`) and of c-ares. A code that is not listed is `other`. */
const KINDS: ReadonlyMap<unknown, ErrorCodeKind> = new Map([
  ['ENOENT', 'absent'],
  ['EEXIST', 'exists'],
  ['EACCES', 'forbidden'],
  ['EPERM', 'forbidden'],
  ['ECONNREFUSED', 'refused'],
  ['EADDRINUSE', 'address-in-use'],
  ['EADDRNOTAVAIL', 'no-such-address'],
  ['EAFNOSUPPORT', 'no-such-address'],
  ['EMFILE', 'no-descriptors'],
  ['ENFILE', 'no-descriptors'],
  ['EBUSY', 'busy'],
  ['ENOSPC', 'full'],
  ['EDQUOT', 'full'],
  ['EROFS', 'read-only'],
  ['ENOTDIR', 'not-a-directory'],
  ['ELOOP', 'link'],
  ['ENODATA', 'no-such-name'],
  ['ENOTFOUND', 'no-such-name'],
]);

/** The code that Node, OpenSSL or a driver has put on an error (`ENOENT`, `ERR_TLS_CERT_ALTNAME_INVALID`); null = none. */
export function errorCode(error: unknown): string | null {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : null;
}

/** By the error, or by the code where only that is left of it. Never throws, whatever it is given. */
export function kindOfError(error: unknown): ErrorCodeKind {
  return KINDS.get(typeof error === 'string' ? error : errorCode(error)) ?? 'other';
}
