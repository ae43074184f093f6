import { fieldOf } from './headers.ts';
import { acceptOf } from '../wire/connection-header.ts';
import type { RequestHead } from '../wire/head.ts';

/**
 * What becomes of a request for a pod that sleeps or starts. `probe` = it is answered in the pod's place; `refuse` = the same,
 * with an error; `page` = a browser gets a page that loads itself again; `hold` = it waits for the pod.
 */
export type WhileAsleep = 'probe' | 'refuse' | 'page' | 'hold';

/** Probes wake nothing: those that monitors are known for by their path, and HEAD, which asks for no content. */
export function whileAsleep(head: RequestHead, target: string, probePaths: readonly string[]): WhileAsleep {
  const { method } = head;
  const isHead = method === 'HEAD';
  if ((isHead || method === 'GET') && probePaths.includes(pathOf(target))) return 'probe';
  if (isHead) return 'refuse';
  return method === 'GET' && isNavigation(head) ? 'page' : 'hold';
}

/** Somebody looks at a browser meanwhile. What its scripts and images ask for is held: they cannot show a page. */
function isNavigation(head: RequestHead): boolean {
  if (!/\btext\/html\b/i.test(acceptOf(head))) return false;
  const mode = fieldOf(head.rawHeaders, 'sec-fetch-mode');
  return mode === null || mode === 'navigate';
}

function pathOf(target: string): string {
  const end = target.indexOf('?');
  return end < 0 ? target : target.slice(0, end);
}
