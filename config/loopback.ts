import { isIP } from 'node:net';

/** An address of the loopback interface; a name never is one, whatever it looks like. */
export function isLoopback(host: string): boolean {
  return isIP(host) === 4 ? host.startsWith('127.') : host === '::1';
}
