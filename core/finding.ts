/** What `podgate doctor` has found out about one thing. */
export interface Finding {
  readonly level: 'ok' | 'warn' | 'fail';
  /** What was looked at. */
  readonly subject: string;
  /** What is the case, as a sentence. */
  readonly message: string;
  /** What to do, as a sentence; '' when there is nothing to do. */
  readonly remedy: string;
}

export function ok(subject: string, message: string): Finding {
  return { level: 'ok', subject, message, remedy: '' };
}

/** It works, but not as it should; or it cannot be seen from here. */
export function warn(subject: string, message: string, remedy: string): Finding {
  return { level: 'warn', subject, message, remedy };
}

export function fail(subject: string, message: string, remedy: string): Finding {
  return { level: 'fail', subject, message, remedy };
}
