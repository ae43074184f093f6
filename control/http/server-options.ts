import type { ServerOptions } from 'node:http';

import type { OperationLimits } from './operation.ts';

/** Beyond the time that an operation gives its body, so that a slow body gets its envelope. */
const REQUEST_MARGIN_MS = 20_000;

/** Connections to one socket of the API: well above the calls it takes at a time. Further ones are closed at once. */
export const CONNECTIONS_MAX = 4_096;

/** Of a server for these operations: nobody slow holds a connection for ever. */
export function serverOptionsFor(limits: readonly Pick<OperationLimits, 'bodyTimeoutMs'>[]) {
  return {
    headersTimeout: 10_000,
    requestTimeout: Math.max(...limits.map(({ bodyTimeoutMs }) => bodyTimeoutMs)) + REQUEST_MARGIN_MS,
    keepAliveTimeout: 65_000,
    connectionsCheckingInterval: 5_000,
    maxHeaderSize: 32_768,
  } as const satisfies ServerOptions;
}
