import { readFileSync } from 'node:fs';
import { isAbsolute, join } from 'node:path';
import sax from 'sax';
import { errorText, PodgateError } from '../core/errors.ts';
import { homeOf } from './cache-dir.ts';
import { isRepositoryUrl, MAVEN_REPOSITORY_RULE } from './process-section.ts';

/** What Maven itself uses where nothing else is set up. */
const CENTRAL = 'https://repo.maven.apache.org/maven2';
const SETTINGS_MAX_BYTES = 1024 * 1024;

export interface MavenRepository {
  /** Without a slash at the end. */
  readonly url: string;
  /** The value of an Authorization header, a secret; null = none. */
  readonly authorization: string | null;
  /** Where it is set up, for people. */
  readonly from: string;
}

/**
 * The repository to download from: the one that is `configured`, else the mirror of Central that the settings of Maven on
 * this machine name, else Central. Throws PodgateError 'config.invalid' when the settings cannot be understood. Not part
 * of Config: it may hold a password.
 */
export function readMavenRepository(configured: string | null, env: NodeJS.ProcessEnv): MavenRepository {
  if (configured !== null) {
    return { url: withoutSlash(configured), authorization: null, from: 'process.mavenRepository' };
  }
  for (const file of settingsFiles(env)) {
    const text = readSettings(file);
    const found = text === null ? null : mirrorOfCentral(text, file, env);
    if (found !== null) return found;
  }
  return { url: CENTRAL, authorization: null, from: 'Maven Central' };
}

/** In the order in which Maven lets one overrule the next. */
function settingsFiles(env: NodeJS.ProcessEnv): readonly string[] {
  const named = / (?:-s|--settings)[ =](\S+)/.exec(` ${env['MAVEN_ARGS'] ?? ''}`)?.[1];
  const homes = [env['MAVEN_HOME'], env['M2_HOME']].filter((home) => home !== undefined && isAbsolute(home));
  return [
    named !== undefined && isAbsolute(named) ? named : join(homeOf(env), '.m2', 'settings.xml'),
    ...homes.map((home) => join(String(home), 'conf', 'settings.xml')),
    '/etc/maven/settings.xml',
    '/usr/share/maven/conf/settings.xml',
  ];
}

/** Null: there is none, or we may not read it. */
function readSettings(file: string): string | null {
  try {
    const text = readFileSync(file, 'utf8');
    return text.length > SETTINGS_MAX_BYTES ? null : text;
  } catch {
    return null;
  }
}

type Fields = Readonly<Record<string, string>>;

/** https://maven.apache.org/guides/mini/guide-mirror-settings.html; null when that file names no mirror of Central. */
function mirrorOfCentral(text: string, file: string, env: NodeJS.ProcessEnv): MavenRepository | null {
  const { mirrors, servers } = parseSettings(text, file);
  const usable = mirrors.filter(({ blocked }) => blocked !== 'true');
  const mirror =
    usable.find(({ mirrorOf }) => mirrorOf === 'central') ??
    usable.find(({ mirrorOf = '' }) => isMirrorOfCentral(mirrorOf));
  if (mirror === undefined) return null;
  const invalid = (what: string) => new PodgateError('config.invalid', { publicMessages: [`${file}: ${what}.`] });
  const url = interpolate(mirror['url'] ?? '', env);
  const name = `the mirror ${JSON.stringify(mirror['id'] ?? '')}`;
  if (!isRepositoryUrl(url)) {
    throw invalid(`the URL of ${name} ${MAVEN_REPOSITORY_RULE}; correct it, or set process.mavenRepository`);
  }
  const server = servers.find(({ id }) => id === mirror['id']);
  const username = interpolate(server?.['username'] ?? '', env);
  const password = interpolate(server?.['password'] ?? '', env);
  if (/\{.*\}/.test(password)) {
    throw invalid(
      `the password of ${name} is encrypted or unset, which Podgate cannot read; set process.mavenRepository`,
    );
  }
  const basic = Buffer.from(`${username}:${password}`).toString('base64');
  return {
    url: withoutSlash(url),
    authorization: username === '' ? null : `Basic ${basic}`,
    from: `${name} in ${file}`,
  };
}

/** Maven's rules for `mirrorOf`. Central is reached by https, so `external:http:*` is not about it. */
function isMirrorOfCentral(mirrorOf: string): boolean {
  const patterns = mirrorOf.split(',').map((pattern) => pattern.trim());
  if (patterns.includes('!central')) return false;
  return patterns.some((pattern) => ['central', '*', 'external:*'].includes(pattern));
}

function parseSettings(
  text: string,
  file: string,
): { readonly mirrors: readonly Fields[]; readonly servers: readonly Fields[] } {
  const lists: Record<'mirrors' | 'servers', Record<string, string>[]> = { mirrors: [], servers: [] };
  const path: string[] = [];
  const parser = sax.parser(true, { trim: true });
  parser.onerror = (error) => {
    throw new PodgateError('config.invalid', {
      publicMessages: [`${file}: is not XML that can be read (${errorText(error).split('\n')[0] ?? ''}).`],
    });
  };
  parser.onopentag = ({ name }) => {
    path.push(name);
    const at = path.join('/');
    if (at === 'settings/mirrors/mirror') lists.mirrors.push({});
    if (at === 'settings/servers/server') lists.servers.push({});
  };
  parser.onclosetag = () => path.pop();
  parser.ontext = parser.oncdata = (value) => {
    const [, list, , field, ...deeper] = path;
    if ((list !== 'mirrors' && list !== 'servers') || field === undefined || deeper.length > 0) return;
    const entry = lists[list].at(-1);
    if (entry !== undefined) entry[field] = value.trim();
  };
  parser.write(text).close();
  return lists;
}

/** `${env.NAME}`, as Maven replaces it. */
function interpolate(text: string, env: NodeJS.ProcessEnv): string {
  return text.replaceAll(/\$\{env\.([A-Za-z_][A-Za-z0-9_]*)\}/g, (whole, name: string) => env[name] ?? whole);
}

function withoutSlash(url: string): string {
  return url.replace(/\/+$/, '');
}
