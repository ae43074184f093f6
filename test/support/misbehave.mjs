// Loaded into Podgate's processes by tests (NODE_OPTIONS=--import): SIGWINCH makes one spin, SIGURG makes it throw.
import { writeSync } from 'node:fs';

process.on('SIGWINCH', () => {
  writeSync(2, 'it spins\n');
  for (;;);
});
process.on('SIGURG', () => {
  throw new Error('thrown by a test');
});
