import { isIP } from 'node:net';
import { resolve } from 'node:path';
import { z } from 'zod';
import type { AcmeDnsConfig } from './config.ts';
import { caProblem, checkFile } from './named-file.ts';
import { DNS_PORT, SERVER_ADDRESS_RULE, withDnsPort } from './server-address.ts';

const serverAddress = z.string().refine((text) => withDnsPort(text) !== null, { error: SERVER_ADDRESS_RULE });
const timeout = (fallback: number) => z.int().min(1_000).max(600_000).default(fallback);

/** The section `acme.dns` of the YAML file: how the text records of dns-01 are written. */
export const dnsSection = z
  .strictObject({
    resolvers: z.array(serverAddress).max(8).default([]),
    nameServers: z.array(serverAddress).max(32).default([]),
    propagationTimeoutMs: timeout(120_000),
    update: z.strictObject({ server: z.string().min(1), keyFile: z.string().min(1) }).optional(),
    exec: z
      .strictObject({
        command: z.string().min(1),
        arguments: z.array(z.string()).max(32).default([]),
        timeoutMs: timeout(60_000),
      })
      .optional(),
    http: z
      .strictObject({
        url: z
          .string()
          .refine(isAllowedUrl, { error: 'must be a URL that starts with https:// (or http:// on loopback)' }),
        tokenFile: z.string().min(1),
        caFile: z.string().min(1).optional(),
        timeoutMs: timeout(30_000),
      })
      .optional(),
  })
  .refine(({ update, exec, http }) => [update, exec, http].filter((one) => one !== undefined).length === 1, {
    error: 'must have exactly one of update, exec and http',
  });

/** The files that are named must be readable now; what is wrong is added to `problems`, by key. */
export function dnsConfigOf(
  section: z.infer<typeof dnsSection>,
  cwd: string,
  where: string,
  problems: string[],
): AcmeDnsConfig {
  const { update, exec, http, propagationTimeoutMs } = section;
  const shared = {
    resolvers: section.resolvers.map(serverOf),
    nameServers: section.nameServers.map(serverOf),
    propagationTimeoutMs,
  };
  if (update !== undefined) {
    const server = hostAndPort(update.server);
    if (server === null)
      problems.push(`${where}.update.server: must be a host name or an address, with a port unless it is 53.`);
    const keyFile = resolve(cwd, update.keyFile);
    checkFile(keyFile, `${where}.update.keyFile`, (text) => (tsigKeyOf(text) === null ? TSIG_RULE : null), problems);
    return { ...shared, writer: { kind: 'update', server: server ?? { host: '', port: DNS_PORT }, keyFile } };
  }
  if (http !== undefined) {
    const tokenFile = resolve(cwd, http.tokenFile);
    checkFile(tokenFile, `${where}.http.tokenFile`, (text) => (isToken(text.trim()) ? null : TOKEN_RULE), problems);
    const caFile = http.caFile === undefined ? null : resolve(cwd, http.caFile);
    if (caFile !== null) checkFile(caFile, `${where}.http.caFile`, caProblem, problems);
    return { ...shared, writer: { kind: 'http', url: http.url, tokenFile, caFile, timeoutMs: http.timeoutMs } };
  }
  return {
    ...shared,
    writer: {
      kind: 'exec',
      command: exec === undefined ? '' : exec.command.includes('/') ? resolve(cwd, exec.command) : exec.command,
      arguments: exec?.arguments ?? [],
      timeoutMs: exec?.timeoutMs ?? 0,
    },
  };
}

const TSIG_RULE =
  'must contain one key as written by tsig-keygen: key "name" { algorithm hmac-sha256; secret "..."; };';
const TOKEN_RULE = 'must contain only a token of printable ASCII characters';

/** A BIND key file: name, algorithm and secret; null if it is not one. */
export function tsigKeyOf(
  text: string,
): { readonly name: string; readonly algorithm: string; readonly secret: string } | null {
  const [, name = '', body = ''] = /^\s*key\s+"?([A-Za-z0-9._-]{1,200})"?\s*\{([^{}]*)\}\s*;\s*$/.exec(text) ?? [];
  const algorithm = /\balgorithm\s+"?(hmac-sha(?:256|384|512))"?\s*;/i.exec(body)?.[1]?.toLowerCase();
  const secret = /\bsecret\s+"([A-Za-z0-9+/]{16,}={0,2})"\s*;/.exec(body)?.[1];
  return name === '' || algorithm === undefined || secret === undefined ? null : { name, algorithm, secret };
}

function isToken(text: string): boolean {
  return /^[\x21-\x7e]{1,4096}$/.test(text);
}

function isAllowedUrl(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { protocol, hostname } = new URL(text);
  return protocol === 'https:' || (protocol === 'http:' && ['localhost', '127.0.0.1', '[::1]'].includes(hostname));
}

/** Of one that the schema has accepted. */
function serverOf(text: string): string {
  return withDnsPort(text) ?? text;
}

function hostAndPort(text: string): { readonly host: string; readonly port: number } | null {
  if (isIP(text) !== 0) return { host: text, port: DNS_PORT };
  const [, host = '', port = String(DNS_PORT)] = /^\[?([A-Za-z0-9.:-]+?)\]?(?::(\d{1,5}))?$/.exec(text) ?? [];
  return host === '' || Number(port) < 1 || Number(port) > 65_535 ? null : { host, port: Number(port) };
}
