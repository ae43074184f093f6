import { readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { say } from './run-command.mjs';

const LOOK_AGAIN_MS = 200;
/** A process id may have gone to another program: nobody is waited for longer than an installation can take. */
const WAIT_MAX_MS = 15 * 60_000;
/** Between making the file and writing the process id into it. */
const UNWRITTEN_MS = 2_000;

/**
 * Runs `work` while no other process of this user does so with the same file: `npm start` and `npm test` of one fresh
 * checkout, typed at once, would each remove what the other installs. The file of a process that is gone does not count.
 * @template T
 * @param {string} path of a file that is there meanwhile
 * @param {() => Promise<T>} work
 * @returns {Promise<T>}
 */
export async function oneAtATime(path, work) {
  const giveUpMs = Date.now() + WAIT_MAX_MS;
  for (let waited = false; !take(path); waited = true) {
    const holder = holderOf(path);
    if (holder === null || Date.now() > giveUpMs) {
      rmSync(path, { force: true });
    } else {
      if (!waited) say(`another set-up of this directory is at work (${holder}); waiting for it`);
      await delay(LOOK_AGAIN_MS);
    }
  }
  try {
    return await work();
  } finally {
    rmSync(path, { force: true });
  }
}

function take(path) {
  try {
    writeFileSync(path, `${process.pid}\n`, { flag: 'wx' });
    return true;
  } catch (error) {
    if (error.code === 'EEXIST') return false;
    throw error;
  }
}

/** Who has the file, or null when nobody that lives does. */
function holderOf(path) {
  try {
    const pid = Number(readFileSync(path, 'utf8'));
    if (pid > 0) return isAlive(pid) ? `pid ${pid}` : null;
    return Date.now() - statSync(path).mtimeMs < UNWRITTEN_MS ? 'just started' : null;
  } catch {
    return null;
  }
}

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
}
