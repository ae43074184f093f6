/** Why a connection was closed without an answer that says so. */
export type ClosedReason =
  | 'too-many-connections'
  | 'unrecognized'
  /** TLS that starts with something else than a good ClientHello; the client got an alert. */
  | 'malformed-hello'
  | 'early-bytes'
  | 'cancel-request'
  | 'malformed-startup'
  | 'ended-early'
  | 'deadline'
  | 'no-certificate'
  | 'tls-failed'
  /** The client offers protocols by ALPN, and none that its server name has; it got the alert `no_application_protocol`. */
  | 'no-common-protocol'
  | 'accept-failed'
  /** An ACME server has seen what it asked for. */
  | 'acme-validation'
  /** A load balancer looked whether we are there. */
  | 'probe'
  /** Of one who is trusted to send a PROXY header, and sent none where one is required, or a bad one. */
  | 'proxy-header'
  /** Somebody else sent one. */
  | 'untrusted-proxy-header'
  /** The oldest attempt makes room for a new one when there is no place left. */
  | 'pushed-out'
  /** Nothing has moved in its session for longer than `sessionIdleMs`. */
  | 'idle'
  /** The client has not acknowledged what it was sent, nor anything else, for as long as a client that fails keep-alive. */
  | 'vanished'
  /** The time to drain was over. */
  | 'drained';

/** How a session that was passed on came to its end. */
export type SessionEnd =
  | 'finished'
  | 'client-failed'
  | 'backend-failed'
  | 'idle-half-closed'
  /** Cut: its pod was stopped or deleted. */
  | 'route-gone'
  /** Cut: its pod lets this client in no more. */
  | 'client-refused'
  /** Cut: this process ends, and the time for that is over. */
  | 'drained';
