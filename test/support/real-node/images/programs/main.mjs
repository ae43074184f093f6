// A behaviour of the stand-in's images in a container: `node main.mjs NAME`; ports by PORT and PORT_<NAME>, as Podgate gives them.
import { networkInterfaces } from 'node:os';
import { setInterval } from 'node:timers';
import { BEHAVIOURS } from './behaviours.ts';

const behaviour = BEHAVIOURS[process.argv[2] ?? ''];
if (behaviour === undefined) throw new Error(`no such image: ${process.argv[2] ?? ''}`);
const told = new AbortController();
process.on('SIGTERM', () => told.abort());
// Nothing else keeps a process alive that waits for a signal.
setInterval(() => undefined, 1 << 30);
const variables = Object.entries(process.env).filter(([name]) => name === 'PORT' || name.startsWith('PORT_'));
const address = networkInterfaces()['eth0']?.find(({ family }) => family === 'IPv4')?.address ?? '0.0.0.0';
const code = await behaviour(
  {
    environment: process.env,
    address,
    ports: [...new Set(variables.map(([, value]) => Number(value)))],
    identity: { name: process.env['HOSTNAME'] ?? '', address },
    volumes: ['/counter'],
  },
  (text) => process.stdout.write(text),
  { told: told.signal, killed: new AbortController().signal },
);
process.exit(code);
