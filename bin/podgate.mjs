#!/usr/bin/env node
// The command line. Whatever Node runs this (20 or later), the program itself runs on the one among its dependencies.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const at = (path) => fileURLToPath(new URL(`../${path}`, import.meta.url));
const node = at('node_modules/.bin/node');

if (!existsSync(node)) {
  process.stderr.write('podgate: not set up yet; run: npm start\n');
  process.exit(1);
}
const child = spawn(node, [at('cli/podgate.ts'), ...process.argv.slice(2)], { stdio: 'inherit' });
// Ctrl-C reaches the child by itself: psql stays, and cancels its query.
process.on('SIGINT', () => {});
process.on('SIGTERM', () => child.kill('SIGTERM'));
child.on('exit', (code, signal) => (signal === null ? process.exit(code) : process.kill(process.pid, signal)));
