import type { LogStore } from '../../../core/log-store.ts';
import { MOST_ACTION_LINES, oneLine } from '../log-limits.ts';
import { integerOf, textOf } from './sqlite-connection.ts';
import type { GuardedSession } from './guarded-session.ts';
import type { OutputFiles } from './output-files.ts';

export function createSqliteLogStore(options: {
  readonly session: GuardedSession;
  readonly outputFiles: OutputFiles;
}): LogStore {
  const { session, outputFiles } = options;
  return {
    async appendAction(uid, line) {
      const text = oneLine(line);
      await session.write(
        'appendAction',
        (connection) => {
          const last = connection.get(
            'SELECT position, line FROM action_logs WHERE uid = ? ORDER BY position DESC LIMIT 1',
            uid,
          );
          if (last !== undefined && textOf(last, 'line') === text) return;
          const position = last === undefined ? 1 : integerOf(last, 'position') + 1;
          connection.run('INSERT INTO action_logs (uid, position, line) VALUES (?, ?, ?)', uid, position, text);
          connection.run('DELETE FROM action_logs WHERE uid = ? AND position <= ?', uid, position - MOST_ACTION_LINES);
        },
        { needsRoom: true },
      );
    },
    async actions(uid, last = MOST_ACTION_LINES) {
      return session.read('actions', (connection) =>
        connection
          .all('SELECT line FROM action_logs WHERE uid = ? ORDER BY position DESC LIMIT ?', uid, Math.max(0, last))
          .map((row) => textOf(row, 'line'))
          .reverse(),
      );
    },
    async saveOutput(uid, run, text, mark = '') {
      session.assertTrusted('saveOutput');
      await outputFiles.save(uid, run, text, mark);
    },
    async appendOutput(uid, run, text, mark) {
      session.assertTrusted('appendOutput');
      await outputFiles.append(uid, run, text, mark);
    },
    output: async (uid, upToRun = Infinity) => (await outputFiles.newest(uid, upToRun))?.text ?? '',
    async outputOfRun(uid, run) {
      const newest = await outputFiles.newest(uid, run);
      return newest?.run === run ? newest : null;
    },
    async remove(uid) {
      await session.write('removeLogs', (connection) => {
        connection.run('DELETE FROM action_logs WHERE uid = ?', uid);
      });
      await outputFiles.remove(uid);
    },
  };
}
