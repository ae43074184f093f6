import { enableCompileCache } from 'node:module';
import { join } from 'node:path';

// Before anything else is imported: the cache holds what is compiled from then on.
enableCompileCache(join(import.meta.dirname, '..', 'node_modules', '.cache', 'podgate-compile'));
const { runCommandLine } = await import('./run-command-line.ts');
await runCommandLine(process.argv.slice(2));
