import { chmodSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { kindOfError } from '../../core/error-code.ts';
import { shellWord } from '../../core/shell-word.ts';
import { CliError, EXIT_FAILED } from '../cli-error.ts';

/** An installation and a token for it. */
export interface Login {
  readonly origin: string;
  readonly token: string;
  /** Whether its CA is in a file of its own; see caPathOf. */
  readonly hasCa: boolean;
}

/** All logins of this user of the machine, in one file of mode 0600. */
export interface Logins {
  /** The profile that commands use; null = none. */
  readonly current: string | null;
  readonly profiles: Readonly<Record<string, Login>>;
}

const NONE: Logins = { current: null, profiles: {} };

/** Names of profiles become names of files. */
export function isProfileName(name: string): boolean {
  return /^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/.test(name) && name !== 'local';
}

export function caPathOf(profile: string): string {
  return join(directory(), `${profile}.ca.pem`);
}

/** Throws CliError when the file is damaged, or others could read it. */
export function readLogins(): Logins {
  const path = loginsPath();
  let text: string;
  try {
    // Anyone who can read the tokens can act as this user.
    if ((statSync(path).mode & 0o077) !== 0) {
      throw new CliError(EXIT_FAILED, `others can read ${path}; run: chmod 600 ${shellWord(path)}`);
    }
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if (kindOfError(error) === 'absent') return NONE;
    throw error;
  }
  const parsed = parseLogins(text);
  if (parsed === null) throw new CliError(EXIT_FAILED, `${path} is damaged; remove it and log in again`);
  return parsed;
}

/** Appears whole: a reader never meets half of it. */
export function writeLogins(logins: Logins): void {
  writePrivately(loginsPath(), `${JSON.stringify(logins, null, 2)}\n`);
}

/** Null removes it. */
export function writeCa(profile: string, pem: string | null): void {
  if (pem === null) rmSync(caPathOf(profile), { force: true });
  else writePrivately(caPathOf(profile), pem);
}

function writePrivately(path: string, text: string): void {
  mkdirSync(directory(), { recursive: true, mode: 0o700 });
  const temporary = `${path}.${process.pid}.new`;
  writeFileSync(temporary, text, { mode: 0o600 });
  chmodSync(temporary, 0o600);
  renameSync(temporary, path);
}

function loginsPath(): string {
  return join(directory(), 'logins.json');
}

/** By the XDG Base Directory Specification. */
function directory(): string {
  const configured = process.env['XDG_CONFIG_HOME'];
  return join(configured?.startsWith('/') === true ? configured : join(homedir(), '.config'), 'podgate');
}

function parseLogins(text: string): Logins | null {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return null;
  }
  if (!isFields(value) || !isFields(value['profiles'])) return null;
  const { current, profiles } = value;
  if (current !== null && typeof current !== 'string') return null;
  const isLogin = (login: unknown): login is Login =>
    isFields(login) &&
    typeof login['origin'] === 'string' &&
    typeof login['token'] === 'string' &&
    typeof login['hasCa'] === 'boolean';
  if (!Object.entries(profiles).every(([name, login]) => isProfileName(name) && isLogin(login))) return null;
  return { current, profiles: profiles as Logins['profiles'] };
}

function isFields(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
