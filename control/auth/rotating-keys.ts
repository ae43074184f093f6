import { readFile, stat } from 'node:fs/promises';

import { createLocalJWKSet, type JSONWebKeySet, type JWTVerifyGetKey } from 'jose';

import type { Clock } from '../../core/clock.ts';
import { errorText, PodgateError } from '../../core/errors.ts';
import { boundedText } from './bounded-text.ts';

/** Where a tenant publishes its keys as a JWKS (RFC 7517): a file of this machine, or a URL. */
export type KeySource = { readonly file: string } | { readonly url: string };

const KEYS_MAX_BYTES = 256 * 1024;
const READ_TIMEOUT_MS = 5_000;
/** After it, keys are read again while the ones at hand still serve: a key that was withdrawn ends about then. */
const REFRESH_MS = 10 * 60_000;
/** Reads for tokens that no known key has signed, which anybody can make up, are at least so far apart. */
const COOLDOWN_MS = 30_000;
/** Keys that could not be read again for so long are no longer believed. */
const STALE_MAX_MS = 24 * 60 * 60_000;

/**
 * The keys of a tenant that publishes them, as they change. A source that is away for a while keeps nobody out who had a
 * token before. One read at a time, of bounded size and time.
 */
export class RotatingKeys {
  readonly #source: KeySource;
  readonly #clock: Pick<Clock, 'monotonicMs'>;
  #keys: { readonly set: JWTVerifyGetKey; readonly readMs: number } | null = null;
  #lastTryMs = -Infinity;
  #reading: Promise<void> | null = null;
  #failure: unknown = null;

  constructor(source: KeySource, clock: Pick<Clock, 'monotonicMs'>) {
    this.#source = source;
    this.#clock = clock;
  }

  /** Throws PodgateError 'api.unavailable' while there are none that can be believed. */
  async current(): Promise<JWTVerifyGetKey> {
    const ageMs = this.#ageMs();
    if (ageMs > STALE_MAX_MS) await this.#readUnlessCooling();
    else if (ageMs > REFRESH_MS) void this.#readUnlessCooling();
    if (this.#keys !== null && this.#ageMs() <= STALE_MAX_MS) return this.#keys.set;
    throw new PodgateError('api.unavailable', {
      publicMessages: [
        'The keys that verify tokens of this tenant cannot be read at the moment. Try again in a minute.',
      ],
      detail: `the keys of ${this.#name()} cannot be read: ${errorText(this.#failure)}`,
      cause: this.#failure,
    });
  }

  /** The keys read again, for a token that those at hand do not fit; null when they were read a moment ago. */
  async newer(): Promise<JWTVerifyGetKey | null> {
    const before = this.#keys;
    await this.#readUnlessCooling();
    return this.#keys === before ? null : (this.#keys?.set ?? null);
  }

  async #readUnlessCooling(): Promise<void> {
    if (this.#reading !== null) {
      await this.#reading;
      return;
    }
    if (this.#clock.monotonicMs() - this.#lastTryMs < COOLDOWN_MS) return;
    this.#lastTryMs = this.#clock.monotonicMs();
    this.#reading = this.#read().finally(() => {
      this.#reading = null;
    });
    await this.#reading;
  }

  /** Never rejects: what failed is kept for the log. */
  async #read(): Promise<void> {
    try {
      const text = await ('file' in this.#source ? readKeyFile(this.#source.file) : fetchKeys(this.#source.url));
      // It checks the form, and throws for what is no JWKS.
      const set = createLocalJWKSet(JSON.parse(text) as JSONWebKeySet);
      this.#keys = { set, readMs: this.#clock.monotonicMs() };
      this.#failure = null;
    } catch (error) {
      this.#failure = error;
    }
  }

  #ageMs(): number {
    return this.#keys === null ? Infinity : this.#clock.monotonicMs() - this.#keys.readMs;
  }

  #name(): string {
    return 'file' in this.#source ? this.#source.file : this.#source.url;
  }
}

async function readKeyFile(path: string): Promise<string> {
  if ((await stat(path)).size > KEYS_MAX_BYTES) throw new Error('it is too large');
  return await readFile(path, 'utf8');
}

async function fetchKeys(url: string): Promise<string> {
  const response = await fetch(url, { redirect: 'error', signal: AbortSignal.timeout(READ_TIMEOUT_MS) });
  if (!response.ok || response.body === null) {
    await response.body?.cancel();
    throw new Error(`it returned status ${response.status}`);
  }
  const text = await boundedText(response, KEYS_MAX_BYTES);
  if (text === null) throw new Error('it is too large');
  return text;
}
