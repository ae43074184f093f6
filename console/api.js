/** The key of the session, beside the cookie that the page cannot read; it belongs to this origin, port included. */
const KEY = 'podgate.session';

export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

let onSignedOut = () => undefined;
export function whenSignedOut(act) {
  onSignedOut = act;
}

/** The key of a login by OAuth that this page has begun; it belongs to this tab. */
const OAUTH_KEY = 'podgate.oauth';

function base64url(bytes) {
  return btoa(String.fromCharCode(...bytes))
    .replaceAll('+', '-')
    .replaceAll('/', '_')
    .replaceAll('=', '');
}

/** Leaves for the tenant's login. The key stays here: who gets hold of the cookie alone cannot end the login. */
export async function beginOauth() {
  const key = base64url(crypto.getRandomValues(new Uint8Array(32)));
  const hash = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(key));
  sessionStorage.setItem(OAUTH_KEY, key);
  location.assign(`/console/oauth?key_hash=${base64url(new Uint8Array(hash))}`);
}

export async function endOauth() {
  const key = sessionStorage.getItem(OAUTH_KEY) ?? '';
  sessionStorage.removeItem(OAUTH_KEY);
  await logIn({ oauth_key: key });
}

export function hasSession() {
  return sessionKey() !== null;
}

const sessionKey = () => localStorage.getItem(KEY);
const sessionHeader = (key = sessionKey()) => (key === null ? {} : { 'X-Podgate-Session': key });

/** `key`: of the session that the call was made with; another one may have begun since. */
function refusalOf(status, { message = `HTTP status ${status}` }, key) {
  if (status === 401 && key !== null && key === sessionKey()) {
    localStorage.removeItem(KEY);
    onSignedOut();
  }
  return new ApiError(status, Array.isArray(message) ? message.join('. ') : message);
}

/** What only reads is asked again; of the rest, nobody knows whether it was done. An explanation tries connections. */
const READ_MS = 30_000;
const CHANGE_MS = 120_000;
const deadlineOf = (method, path) => (method === 'GET' && !/\/explain(\?|$)/.test(path) ? READ_MS : CHANGE_MS);

const SILENT = 'Podgate does not respond. It may be busy or starting again.';
const UNCERTAIN = 'Podgate did not respond. Check whether this was done before you try again.';

async function send(path, options) {
  try {
    return await fetch(path, options);
  } catch {
    throw silence(options.method);
  }
}

const silence = (method = 'GET') => new ApiError(0, method === 'GET' ? SILENT : UNCERTAIN);

/** Whether trying again may help: Podgate is away, busy or starting. */
export const isPassing = ({ status }) => status === 0 || status === 429 || status >= 500;

/** The envelope of a response. Throws ApiError with the sentence to show. */
export async function call(method, path, body) {
  const key = sessionKey();
  const signal = AbortSignal.timeout(deadlineOf(method, path));
  const response = await send(path, {
    method,
    signal,
    headers: { ...sessionHeader(key), ...(body === undefined ? {} : { 'Content-Type': 'application/json' }) },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const envelope = await response.json().catch(() => ({}));
  if (signal.aborted) throw silence(method);
  // Not ready is a state to show.
  if (!response.ok && path !== '/readyz') throw refusalOf(response.status, envelope, key);
  return envelope;
}

/** Saves what a GET returns as a file. A link could not send the session's header. */
export async function download(path, name) {
  const key = sessionKey();
  const response = await send(path, { headers: sessionHeader(key) });
  if (!response.ok) throw refusalOf(response.status, await response.json().catch(() => ({})), key);
  const href = URL.createObjectURL(await response.blob());
  Object.assign(document.createElement('a'), { href, download: name }).click();
  // The browser has taken it by then.
  setTimeout(() => URL.revokeObjectURL(href), 60_000);
}

/** Sends a form. fetch cannot tell how much has been sent: `onProgress` gets a fraction. */
export function upload(path, form, { onProgress, signal }) {
  const key = sessionKey();
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const fail = (message) => reject(new ApiError(0, message));
    request.open('POST', path);
    for (const [name, value] of Object.entries(sessionHeader(key))) request.setRequestHeader(name, value);
    request.responseType = 'json';
    request.upload.addEventListener('progress', ({ loaded, total }) => onProgress(total === 0 ? 1 : loaded / total));
    request.addEventListener('load', () => {
      if (request.status < 400) resolve();
      else reject(refusalOf(request.status, request.response ?? {}, key));
    });
    request.addEventListener('error', () => fail('The upload was interrupted. Try again.'));
    request.addEventListener('abort', () => fail('The upload was canceled.'));
    signal.addEventListener('abort', () => request.abort());
    request.send(form);
  });
}

export const get = async (path) => (await call('GET', path)).result;
export const podPath = (podId, rest = '') => `/v3/pods/${encodeURIComponent(podId)}${rest}`;

/** `{token}` or `{code}`. */
export async function logIn(credentials) {
  const { result } = await call('POST', '/console/session', credentials);
  localStorage.setItem(KEY, result.key);
}

export async function logOut() {
  await call('DELETE', '/console/session').catch(() => undefined);
  localStorage.removeItem(KEY);
  onSignedOut();
}

/** A WebSocket of the API. Pages can set no header for one: the key of the session is one of the subprotocols. */
export function openSocket(path, protocol) {
  const socket = new WebSocket(`${location.origin.replace(/^http/, 'ws')}${path}`, [
    protocol,
    `podgate.session.${sessionKey()}`,
  ]);
  socket.binaryType = 'arraybuffer';
  return socket;
}

/** For the first event of a stream, which is sent at once. */
const OPENING_MS = 15_000;

/** The server-sent events of a response (HTML standard, section 9.2): EventSource cannot send the session's header. */
export async function* eventStream(path, { lastId, silenceMs, signal }) {
  const ending = new AbortController();
  signal.addEventListener('abort', () => ending.abort(), { once: true });
  let silent = setTimeout(() => ending.abort(), OPENING_MS);
  try {
    const response = await fetch(path, {
      headers: {
        ...sessionHeader(),
        ...(lastId === null ? {} : { 'Last-Event-ID': lastId }),
      },
      signal: ending.signal,
    });
    if (!response.ok) throw new ApiError(response.status, (await response.json()).message);
    let text = '';
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
      const { value: piece, done } = await reader.read();
      if (done) return;
      clearTimeout(silent);
      silent = setTimeout(() => ending.abort(), silenceMs);
      const blocks = (text + piece).split('\n\n');
      text = blocks.pop();
      for (const block of blocks) yield eventOf(block);
    }
  } finally {
    clearTimeout(silent);
    ending.abort();
  }
}

function eventOf(block) {
  const event = { id: null, event: 'message', data: '' };
  for (const line of block.split('\n')) {
    const [, name, value] = /^(id|event|data): ?(.*)$/.exec(line) ?? [];
    if (name !== undefined) event[name] = name === 'data' ? event.data + value : value;
  }
  return event;
}
