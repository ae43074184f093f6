import { isDeepStrictEqual } from 'node:util';

import { DEFAULT_ALLOWED_USERS } from '../../../core/pod-login.ts';
import type { Stanza, StanzaLink, StanzaLogin, StanzaOptions } from '../../../core/pod.ts';
import { CLIENT_CA_MAX_BYTES } from './client-ca.ts';
import { wireName } from './wire-names.ts';
import type { WrittenStanza } from './written-pod.ts';

const OPTIONS = [
  'tls',
  'backendProtocol',
  'sendProxyProtocol',
  'speaksFirst',
  'clientCa',
] as const satisfies readonly (keyof StanzaOptions)[];
const LOGIN = [
  'tapisAuth',
  'tapisAuthAllowedUsers',
  'tapisAuthResponseHeaders',
  'tapisAuthReturnPath',
  'tapisAuthExcludedPaths',
] as const satisfies readonly (keyof StanzaLogin)[];
const LINK = ['uiUri', 'uiUriRedirect', 'uiUriDescription'] as const satisfies readonly (keyof StanzaLink)[];

/** What of a stanza acts at once. */
export const POLICY_FIELDS = ['ipAllowList', ...OPTIONS, ...LOGIN, ...LINK] as const;

/** The options of a stanza as a user wrote it, without those that have their default. */
export function writtenOptions(written: WrittenStanza): StanzaOptions {
  const { tls, backendProtocol, proxyProtocol, speaksFirst, clientCa } = written;
  return {
    ...(tls === 'passthrough' && { tls }),
    ...(backendProtocol === 'h2c' && { backendProtocol }),
    ...(proxyProtocol !== undefined && proxyProtocol !== 'none' && { sendProxyProtocol: proxyProtocol }),
    ...(speaksFirst === 'server' && { speaksFirst }),
    ...(clientCa !== undefined && clientCa !== '' && { clientCa }),
  };
}

/** The link of a stanza as a user wrote it, without what has its default. */
export function writtenLink({ tapisUiUri, tapisUiUriRedirect, tapisUiUriDescription }: WrittenStanza): StanzaLink {
  return {
    ...(tapisUiUri !== undefined && tapisUiUri !== '' && { uiUri: tapisUiUri }),
    ...(tapisUiUriRedirect === true && { uiUriRedirect: true }),
    ...(tapisUiUriDescription !== undefined &&
      tapisUiUriDescription !== '' && { uiUriDescription: tapisUiUriDescription }),
  };
}

/** The login of a stanza as a user wrote it, without what has its default. */
export function writtenLogin(written: WrittenStanza): StanzaLogin {
  const { tapisAuth, tapisAuthAllowedUsers: users = [], tapisAuthResponseHeaders: headers = {} } = written;
  const { tapisAuthReturnPath: returnPath = '', tapisAuthExcludedPaths: excludedPaths = [] } = written;
  // Clients of earlier versions send their default along.
  const isDefault =
    users.length === 0 ||
    isDeepStrictEqual(users, DEFAULT_ALLOWED_USERS) ||
    (tapisAuth !== true && isDeepStrictEqual(users, ['*']));
  return {
    ...(tapisAuth === true && { tapisAuth }),
    ...(!isDefault && { tapisAuthAllowedUsers: users }),
    ...(Object.keys(headers).length > 0 && { tapisAuthResponseHeaders: headers }),
    ...(returnPath !== '' && returnPath !== '/' && { tapisAuthReturnPath: returnPath }),
    ...(excludedPaths.length > 0 && { tapisAuthExcludedPaths: excludedPaths }),
  };
}

/** What is wrong with a stanza, each sentence after the name of its field. `where`: `networking.<name>`. */
export function stanzaProblems(where: string, stanza: Stanza, written: WrittenStanza): readonly string[] {
  const problems: string[] = [];
  if (written.tls === 'reencrypt') {
    problems.push(
      `${where}.tls: ending TLS and encrypting again would break SCRAM channel binding, which Postgres clients use by ` +
        'default; take passthrough, and the pod shows its own certificate',
    );
  }
  if (stanza.protocol === 'local_only') {
    if (stanza.ipAllowList.length > 0) {
      problems.push(`${where}.ip_allow_list: a local_only stanza has no route that could be limited`);
    }
    const [option] = optionsOf(stanza);
    if (option !== undefined) problems.push(`${where}.${wireName(option)}: a local_only stanza has no route`);
    if (stanza.tapisAuth === true) problems.push(`${where}.tapis_auth: a local_only stanza has no route`);
    return problems;
  }
  if (stanza.tapisAuth === true) problems.push(...loginProblems(where, stanza, written));
  if (stanza.backendProtocol !== undefined && stanza.protocol !== 'http') {
    problems.push(`${where}.backend_protocol: is for stanzas with protocol http; this one is ${stanza.protocol}`);
  }
  if (stanza.speaksFirst !== undefined && stanza.protocol !== 'tcp') {
    problems.push(`${where}.speaks_first: is for stanzas with protocol tcp; this one is ${stanza.protocol}`);
  }
  if (stanza.tls === 'passthrough') {
    if (stanza.speaksFirst !== undefined) {
      problems.push(`${where}.speaks_first: with tls passthrough the client speaks first, of TLS; leave it out`);
    }
    if (stanza.clientCa !== undefined) {
      problems.push(`${where}.client_ca: with tls passthrough only the pod sees certificates of clients`);
    }
    if (stanza.backendProtocol !== undefined) {
      problems.push(`${where}.backend_protocol: with tls passthrough client and pod agree on it themselves`);
    }
  }
  return problems;
}

function loginProblems(where: string, stanza: Stanza, written: WrittenStanza): readonly string[] {
  const problems: string[] = [];
  if (stanza.protocol !== 'http') {
    problems.push(`${where}.tapis_auth: is for stanzas with protocol http; this one is ${stanza.protocol}`);
  }
  if (stanza.tls === 'passthrough')
    problems.push(`${where}.tapis_auth: with tls passthrough only the pod sees requests`);
  // Upstream lets everyone in then, without a word.
  if (written.tapisAuthAllowedUsers?.length === 0) {
    problems.push(
      `${where}.tapis_auth_allowed_users: must name who is let in; ["*"] is every user of the tenant, and without this ` +
        'field it is those with USER on the pod',
    );
  }
  return problems;
}

/** What is wrong with the stanzas of a pod together. Equal bundles of authorities are kept once. */
export function networkingProblems(networking: Readonly<Record<string, Stanza>>): readonly string[] {
  const bundles = new Set(Object.values(networking).map(({ clientCa = '' }) => clientCa));
  const bytes = [...bundles].reduce((sum, bundle) => sum + Buffer.byteLength(bundle), 0);
  return bytes <= CLIENT_CA_MAX_BYTES
    ? []
    : [`networking: the client_ca of all stanzas must have at most ${CLIENT_CA_MAX_BYTES} bytes in all`];
}

/** The programs of templates speak no TLS of their own, no h2c and read no PROXY header. */
export function templateOptionProblems(where: string, template: string, stanza: Stanza): readonly string[] {
  return optionsOf(stanza)
    .filter((option) => option !== 'clientCa')
    .map((option) => `${where}.${wireName(option)}: the program of ${template} does not know it; leave it out`);
}

function optionsOf(stanza: StanzaOptions): readonly (keyof StanzaOptions)[] {
  return OPTIONS.filter((option) => stanza[option] !== undefined);
}
