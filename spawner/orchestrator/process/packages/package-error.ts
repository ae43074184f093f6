/** Why a package cannot be installed now, in sentences for the user. `isRetryable`: a later try may succeed by itself. */
export class PackageError extends Error {
  override readonly name = 'PackageError';
  readonly isRetryable: boolean;

  constructor(message: string, options: { readonly isRetryable: boolean; readonly cause?: unknown }) {
    super(message, { cause: options.cause });
    this.isRetryable = options.isRetryable;
  }
}

export function mebibytes(bytes: number): number {
  return Math.ceil(bytes / 1024 / 1024);
}

/** Megabytes, as sizes of downloads are usually given. */
export function megabytes(bytes: number): number {
  return Math.round(bytes / 1_000_000);
}
