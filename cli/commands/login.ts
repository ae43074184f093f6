import { readFileSync } from 'node:fs';
import { text } from 'node:stream/consumers';
import { X509Certificate } from 'node:crypto';
import type { Command } from 'commander';
import { errorText } from '../../core/errors.ts';
import { PODGATE } from '../called-as.ts';
import { CliError, EXIT_FAILED, EXIT_USAGE } from '../cli-error.ts';
import { createCommand, type OutputOptions, withJson } from '../command.ts';
import type { OauthServer } from '../login/oauth-login.ts';
import { askSecret } from '../output/ask.ts';
import { printResult } from '../output/print.ts';
import { callApi, refusalOf } from '../target/call-api.ts';
import { isProfileName, readLogins, writeCa, writeLogins } from '../target/logins.ts';
import type { Target } from '../target/target.ts';

const TOKEN_MAX_LENGTH = 16_384;

interface LoginOptions extends OutputOptions {
  readonly profile?: string;
  readonly ca?: string;
  readonly oauth?: boolean;
  readonly token?: boolean;
}

export function loginCommand(): Command {
  return withJson(
    createCommand('login', {
      description: `Logs in to an installation: on a terminal by the tenant's OAuth where it is configured, in a browser of yours;
otherwise with a token, which is read from stdin, or asked for on a terminal.

The token is checked with the API, and stored in a file that only you can read (mode 0600). Commands use the last login
until you log out; --profile chooses another one, and --profile local the installation on this machine.`,
      examples: [
        ['login https://pods.example.org', 'shows where to log in, or asks for a token'],
        ['login https://pods.example.org --token', 'asks for a token'],
        ['login https://pods.example.org < token.txt', ''],
        ['login https://localhost:8443 --ca ca.pem', 'the installation has a CA of its own'],
        ['login https://pods.example.org --profile work', 'then: podgate list --profile work'],
        ['login', 'list your logins'],
      ],
    }),
  )
    .argument('[url]', 'of the installation, as its API is reached')
    .option(
      '--profile <name>',
      'name of this login (default: the host of the URL); without a URL: the login to use from now on',
    )
    .option('--ca <file>', 'the CA certificate (PEM) to trust for this installation, in place of those of this machine')
    .option('--oauth', "log in by the tenant's OAuth, also where stdin is no terminal")
    .option('--token', 'log in with a token')
    .action(async (url: string | undefined, options: LoginOptions) => {
      if (url === undefined) {
        if (options.profile === undefined) listLogins(options);
        else useLogin(options.profile, options);
        return;
      }
      await logIn(url, options);
    });
}

function listLogins(options: LoginOptions): void {
  const { current, profiles } = readLogins();
  const logins = Object.entries(profiles).map(([profile, { origin, token }]) => ({
    profile,
    url: origin,
    current: profile === current,
    ...claimsOf(token),
  }));
  const lines = logins.map(({ profile, url, user, expires, current: isCurrent }) => {
    const rest = expires === null ? '' : `, until ${expires}`;
    return `${isCurrent ? '*' : ' '} ${profile}  ${url}  ${user ?? 'unknown user'}${rest}\n`;
  });
  printResult(options, logins, lines.length === 0 ? `no logins yet; log in: ${PODGATE} login URL\n` : lines.join(''));
}

function useLogin(profile: string, options: LoginOptions): void {
  const logins = readLogins();
  const isLocal = profile === 'local';
  if (!isLocal && logins.profiles[profile] === undefined) {
    throw new CliError(EXIT_USAGE, `there is no login ${profile}; see: podgate login`);
  }
  writeLogins({ ...logins, current: isLocal ? null : profile });
  printResult(options, { profile }, `commands now use ${isLocal ? 'the installation on this machine' : profile}\n`);
}

async function logIn(url: string, options: LoginOptions): Promise<void> {
  const origin = originOf(url);
  const profile = options.profile ?? new URL(origin).host.replaceAll(/[^A-Za-z0-9._-]/g, '-');
  if (!isProfileName(profile)) {
    throw new CliError(EXIT_USAGE, `--profile ${profile}: must be letters, digits, ".", "_" and "-", and not local`);
  }
  const ca = options.ca === undefined ? null : readCa(options.ca);
  const token = await obtainToken(origin, options);
  const target: Target = { profile, origin, token, caPath: options.ca ?? null, gateway: null };
  // Any operation that needs a token. One pod that is not there costs the API less than a list.
  const reply = await callApi(target, { method: 'GET', path: '/v3/pods/podgatelogincheck' });
  if (reply.status !== 200 && reply.status !== 404) throw refusalOf(target, reply);
  const logins = readLogins();
  writeCa(profile, ca);
  const login = { origin, token, hasCa: ca !== null };
  writeLogins({ current: profile, profiles: { ...logins.profiles, [profile]: login } });
  const { user, expires } = claimsOf(token);
  const until = expires === null ? '' : `; the token expires at ${expires}`;
  printResult(
    options,
    { profile, url: origin, user, expires },
    `logged in to ${origin} as ${user ?? 'unknown user'} (profile ${profile})${until}\n`,
  );
}

/** Plain HTTP only on loopback: a token must not cross a network unencrypted. */
function originOf(text: string): string {
  let url: URL;
  try {
    url = new URL(text.includes('://') ? text : `https://${text}`);
  } catch {
    throw new CliError(EXIT_USAGE, `${text} is no URL, such as https://pods.example.org`);
  }
  if (url.username !== '' || url.password !== '' || url.search !== '') {
    throw new CliError(EXIT_USAGE, 'the URL must have neither user nor query: the token is read from stdin');
  }
  const isLoopback = ['127.0.0.1', '[::1]', 'localhost'].includes(url.hostname);
  if (url.protocol === 'https:' || (url.protocol === 'http:' && isLoopback)) return url.origin;
  throw new CliError(EXIT_USAGE, `${text}: must begin with https://, or others on the network could read the token`);
}

function readCa(path: string): string {
  try {
    const pem = readFileSync(path, 'utf8');
    checkCertificate(pem);
    return pem;
  } catch (error) {
    throw new CliError(EXIT_USAGE, `--ca ${path}: ${errorText(error)}; it must be a certificate in PEM form`);
  }
}

/** Throws for anything that does not begin with a certificate. */
function checkCertificate(pem: string): X509Certificate {
  return new X509Certificate(pem);
}

/** By OAuth where that is offered and nothing else is asked for; what comes on stdin is a token. */
async function obtainToken(origin: string, options: LoginOptions): Promise<string> {
  if (options.token === true && options.oauth === true) {
    throw new CliError(EXIT_USAGE, '--oauth and --token exclude each other');
  }
  if (options.token === true || (options.oauth !== true && !process.stdin.isTTY)) return await readToken(origin);
  const target: Target = { profile: '', origin, token: 'none', caPath: options.ca ?? null, gateway: null };
  const reply = await callApi(target, { method: 'GET', path: '/v3/oauth-client' });
  const server = reply.result as OauthServer | null;
  // A release that does not know of it, none, or a client whose key the installation has.
  if (reply.status !== 200 || server === null || server.type === 'tapis') {
    if (options.oauth !== true) return await readToken(origin);
    throw new CliError(EXIT_FAILED, `${origin} offers no OAuth login on the command line; log in with a token`);
  }
  const { logInByOauth } = await import('../login/oauth-login.ts');
  return await logInByOauth(server, (text) => void process.stderr.write(text));
}

async function readToken(origin: string): Promise<string> {
  const token = (process.stdin.isTTY ? await askForToken(origin) : await text(process.stdin)).trim();
  // As it goes into a header.
  if (!/^[\x21-\x7e]+$/.test(token) || token.length > TOKEN_MAX_LENGTH) {
    throw new CliError(EXIT_USAGE, token === '' ? 'no token on stdin' : 'stdin does not contain a token');
  }
  return token;
}

async function askForToken(origin: string): Promise<string> {
  const answer = await askSecret(`Token for ${origin}`);
  if (answer === null) throw new CliError(EXIT_FAILED, 'not logged in');
  return answer;
}

/** For people only: the API alone decides what a token is worth. */
function claimsOf(token: string): { readonly user: string | null; readonly expires: string | null } {
  try {
    const payload = Buffer.from(token.split('.')[1] ?? '', 'base64url').toString('utf8');
    const { 'tapis/username': user, exp } = JSON.parse(payload) as Record<string, unknown>;
    return {
      user: typeof user === 'string' ? user.replaceAll(/\p{Cc}/gu, '') : null,
      expires: typeof exp === 'number' ? new Date(exp * 1000).toISOString() : null,
    };
  } catch {
    return { user: null, expires: null };
  }
}
