import { styleText } from 'node:util';

export type Style = 'bold' | 'dim' | 'green' | 'yellow' | 'red' | 'cyan';

/** Colored only where the stream is a terminal and the environment does not forbid it (NO_COLOR, TERM=dumb). */
export function paint(style: Style, text: string, stream: NodeJS.WriteStream = process.stdout): string {
  return process.env['TERM'] === 'dumb' ? text : styleText(style, text, { stream });
}

const STATUS_STYLES: Readonly<Record<string, Style>> = {
  RUNNING: 'green',
  ERROR: 'red',
  STOPPED: 'dim',
  COMPLETE: 'dim',
  ASLEEP: 'cyan',
};

/** Statuses on the way are yellow. */
export function statusStyle(status: string): Style {
  return STATUS_STYLES[status] ?? 'yellow';
}
