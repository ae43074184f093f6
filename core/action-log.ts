const LINE_MAX_LENGTH = 1_000;

/**
 * A line of action_logs: `YY/MM/DD HH:MM: text`, UTC, as the seed's API shows it. `text` may hold what a workload or a
 * user said: line breaks and control characters become spaces, and it is cut at 1,000 characters. Callers put no value
 * of an environment variable and no secret into it.
 */
export function actionLine(atMs: number, text: string): string {
  const [date = '', time = ''] = new Date(atMs).toISOString().split('T');
  // eslint-disable-next-line no-control-regex -- control characters are what is replaced
  const plain = text.replaceAll(/[\u0000-\u001f\u007f\u2028\u2029]+/g, ' ').trim();
  const bounded = plain.length > LINE_MAX_LENGTH ? `${plain.slice(0, LINE_MAX_LENGTH - 1)}…` : plain;
  return `${date.slice(2).replaceAll('-', '/')} ${time.slice(0, 5)}: ${bounded}`;
}
