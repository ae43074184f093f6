import { readFile, rename, writeFile } from 'node:fs/promises';
import type { TicketKeyFile } from '../../control/tickets/ticket-keys.ts';

/** Keeps sealed ticket keys in a file, so that sessions are resumed after a restart also where no store is shared. */
export function openTicketKeyFile(path: string): TicketKeyFile {
  return {
    async read() {
      const text = await readFile(path, 'utf8').catch(() => '{}');
      try {
        const entries = Object.entries(JSON.parse(text) as object);
        const good = entries.filter(([period, sealed]) => /^\d{1,12}$/.test(period) && typeof sealed === 'string');
        return Object.fromEntries(good);
      } catch {
        return {};
      }
    },
    async write(keys) {
      await writeFile(`${path}.new`, JSON.stringify(keys), { mode: 0o600 });
      await rename(`${path}.new`, path);
    },
  };
}
