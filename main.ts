import { enableCompileCache } from 'node:module';
import { join } from 'node:path';

// Saves half of the time to start. Beside the dependencies, not in the shared temporary directory; a checkout that
// cannot be written to does without. What follows is loaded lazily: after this, and by the role that needs it alone.
enableCompileCache(join(import.meta.dirname, 'node_modules', '.cache', 'podgate-compile'));

// Whatever the shell we come from has: with 077 no pod's user could reach its own home, with 0 everybody could write there.
// What is secret gets its mode where it is written.
process.umask(0o022);

const role = process.argv[2];
switch (role) {
  case undefined:
    await (await import('./main/supervisor/run-supervisor.ts')).runSupervisor();
    break;
  case 'control':
    await (await import('./main/control/control-child.ts')).runControlChild();
    break;
  case 'worker':
    await (await import('./main/gateway-worker.ts')).runGatewayWorker();
    break;
  case 'probe':
    await (await import('./main/probe-child.ts')).runProbeChild();
    break;
  case 'settings':
    await (await import('./main/settings-child.ts')).runSettingsChild();
    break;
  default:
    process.stderr.write('podgate: main.ts takes no arguments; settings are PODGATE_ variables, see README.md\n');
    process.exitCode = 2;
}
