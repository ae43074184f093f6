/**
 * ALPN names (RFC 7301) of what a gateway sends to a control plane elsewhere, each on TLS connections of its own: the feed
 * of one worker (core/feed-protocol.ts), and HTTP/1.1 calls of the API as workers send them.
 */
export const REMOTE_CHANNELS = ['podgate-feed/1', 'podgate-api/1'] as const;
export type RemoteChannel = (typeof REMOTE_CHANNELS)[number];

/** The Unix socket, in the run directory, that speaks the same in either process. */
export const CHANNEL_SOCKETS: Readonly<Record<RemoteChannel, string>> = {
  'podgate-feed/1': 'feed.sock',
  'podgate-api/1': 'api.sock',
};

export function isRemoteChannel(name: unknown): name is RemoteChannel {
  return REMOTE_CHANNELS.some((channel) => channel === name);
}
