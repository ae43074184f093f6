import { createServer } from 'node:net';
import { createDirectoryFiles } from '../../../process/volumes/directory-files.ts';
import { claimsOf } from './claims-argument.ts';
import { JoinedCopies } from './joined-copies.ts';
import { serveSession } from './serve-session.ts';

/**
 * Process 1 of a file server pod: `file-server.ts SOCKET UID=DIRECTORY...` serves the files of the claims that are mounted
 * in those directories at an abstract Unix socket, to which bridge.ts connects who comes by exec. It ends when nobody has
 * used it for a while: a Podgate that has died leaves none running.
 */
const IDLE_MS = 5 * 60_000;

const [socket = '', ...words] = process.argv.slice(2);
const claims = claimsOf(words);
const files = createDirectoryFiles({ claims });
// Pods write there without our doing: sizes are measured, not kept.
for (const uid of claims.keys()) files.mounts.attach({ kind: 'volume', uid, tenant: '', id: '' }, 'pods');
const copies = new JoinedCopies(files, claims);
const leave = (): void => process.exit(0);
const idle = setTimeout(leave, IDLE_MS);
let sessions = 0;

const server = createServer((connection) => {
  sessions += 1;
  connection
    .on('error', () => undefined)
    .once('close', () => {
      sessions -= 1;
    });
  void serveSession({ files, copies }, connection).finally(() => connection.destroySoon());
});
// A timer that is due while somebody is there is set again.
setInterval(() => {
  if (sessions > 0) idle.refresh();
}, 1_000);
process.on('SIGTERM', leave);
server.listen(`\0${socket}`);
