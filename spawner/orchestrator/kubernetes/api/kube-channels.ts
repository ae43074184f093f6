import type { RequestOptions } from 'node:https';
import type { KubeConfig } from '@kubernetes/client-node';
import { WebSocket } from 'ws';

/**
 * The protocol of exec in which the API server only passes on what kubelet and client say to each other. Version 5 adds an
 * end of standard input, which an API server of 1.30 or later translates for kubelets; nothing here needs it.
 */
const PROTOCOL = 'v4.channel.k8s.io';
const FRAME_MAX_BYTES = 16 * 1024;
/** A kubelet sends pieces of 32 KiB. */
const MESSAGE_MAX_BYTES = 1024 * 1024;
const REFUSAL_MAX_BYTES = 16 * 1024;

/** Numbers of the channels of exec. */
export const CHANNEL = { stdin: 0, stdout: 1, stderr: 2, status: 3, resize: 4 } as const;

export type OpenedChannels =
  | {
      readonly kind: 'open';
      /** Resolves when it has been handed to the network; rejects when the connection has ended. */
      send(channel: number, bytes: Uint8Array): Promise<void>;
      /** Lets the other side wait before it sends more, until `resume`. What is on its way still comes. */
      pause(): void;
      resume(): void;
      /** Resolves when the connection has ended, with the reason. */
      readonly closed: Promise<string>;
      close(): void;
    }
  /** The API server has answered the request with a status instead. */
  | { readonly kind: 'refused'; readonly status: number; readonly text: string };

/** Rejects when there is no answer within the deadline, the signal aborts, or the connection cannot be made. */
export async function openChannels(
  config: KubeConfig,
  url: URL,
  deadlineMs: number,
  received: (channel: number, bytes: Buffer) => void,
  signal: AbortSignal,
): Promise<OpenedChannels> {
  const tls: RequestOptions = {};
  await config.applyToHTTPSOptions(tls);
  signal.throwIfAborted();
  const socket = new WebSocket(
    Object.assign(new URL(url), { protocol: url.protocol === 'http:' ? 'ws:' : 'wss:' }),
    PROTOCOL,
    {
      ...tls,
      handshakeTimeout: deadlineMs,
      maxPayload: MESSAGE_MAX_BYTES,
      perMessageDeflate: false,
    },
  );
  const closed = new Promise<string>((resolve) => {
    socket.on('error', (error) => resolve(error.message));
    socket.once('close', (code, reason) => resolve(`closed (${code} ${reason.toString()})`.trim()));
  });
  socket.on('message', (data, isBinary) => {
    if (!isBinary || !Buffer.isBuffer(data) || data.length === 0) return;
    received(data.readUInt8(0), data.subarray(1));
  });
  const close = (): void => socket.terminate();
  const opened = new Promise<OpenedChannels>((resolve, reject) => {
    const pause = (): void => socket.pause();
    const resume = (): void => socket.resume();
    socket.once('open', () => resolve({ kind: 'open', send, pause, resume, closed, close }));
    socket.once('unexpected-response', (_, response) => {
      const { statusCode: status = 0 } = response;
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => {
        text = (text + chunk).slice(0, REFUSAL_MAX_BYTES);
      });
      // It is cut off at the deadline, with whatever came until then.
      response.once('close', () => resolve({ kind: 'refused', status, text }));
    });
    socket.once('error', reject);
  });
  const onAbort = (): void => close();
  signal.addEventListener('abort', onAbort, { once: true });
  return opened.finally(() => signal.removeEventListener('abort', onAbort));

  async function send(channel: number, bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length; at += FRAME_MAX_BYTES) {
      const message = Buffer.concat([Buffer.from([channel]), bytes.subarray(at, at + FRAME_MAX_BYTES)]);
      await new Promise<void>((resolve, reject) => {
        // Its types say undefined for none, and it is null as well.
        socket.send(message, (error) => (error instanceof Error ? reject(error) : resolve()));
      });
    }
  }
}
