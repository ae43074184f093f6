#!/usr/bin/env node
// The command line, for npx. Whatever Node runs this (20 or later), the program itself runs on one that is new enough.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const at = (path) => fileURLToPath(new URL(`../${path}`, import.meta.url));
const node = at('node_modules/.bin/node');

if (!existsSync(node)) {
  process.stderr.write('podgate: not set up yet; run: npm start\n');
  process.exit(1);
}
// How it was called, for hints: cli/called-as.ts.
process.env._PODGATE_CALLED_AS = process.env.npm_command === 'exec' ? 'npx podgate' : process.argv[1];
// "engines" of package.json. A second process would cost as much again as the first.
if (Number(process.versions.node.split('.')[0]) >= 24) await import('../cli/podgate.ts');
else runOnOwnNode();

function runOnOwnNode() {
  const child = spawn(node, [at('cli/podgate.ts'), ...process.argv.slice(2)], { stdio: 'inherit' });
  // Ctrl-C reaches the child by itself: psql stays, and cancels its query.
  process.on('SIGINT', () => {});
  process.on('SIGTERM', () => child.kill('SIGTERM'));
  child.on('exit', (code, signal) => (signal === null ? process.exit(code) : process.kill(process.pid, signal)));
}
