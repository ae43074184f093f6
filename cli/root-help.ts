import { PODGATE } from './called-as.ts';
import { GROUPS } from './command.ts';
import { COMMANDS } from './command-table.ts';

/** What `podgate --help` prints. */
export function rootHelp(): string {
  const width = Math.max(...COMMANDS.map(({ name }) => name.length));
  const groups = GROUPS.map((group) => {
    const lines = COMMANDS.filter((entry) => entry.group === group).map(
      ({ name, summary }) => `  ${name.padEnd(width)}  ${summary}\n`,
    );
    return `${group}:\n${lines.join('')}`;
  });
  return `Podgate: databases and other pods behind one TLS port. Start the server with: npm start

Usage: ${PODGATE} <command> [options]

${groups.join('\n')}
${PODGATE} <command> --help shows options and examples. Commands use the current login (${PODGATE} login), or the installation
in the data directory: PODGATE_DATA_DIR, .podgate in this directory, or .podgate in Podgate's own.
Exit codes: 0 success, 1 failed, 2 usage error, 3 Podgate is not running or cannot be reached.
`;
}
