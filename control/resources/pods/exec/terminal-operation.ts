import { z } from 'zod';

import { TERMINAL_DEADLINE_MAX_MS } from '../../../../core/shell.ts';
import type { Operation } from '../../../http/operation.ts';
import type { PodService } from '../pod-service.ts';
import { TERMINAL_PROTOCOL } from './terminal-protocol.ts';

const IDLE_MS = 30 * 60_000;

export function terminalOperation(pods: Pick<PodService, 'openTerminal'>): Operation {
  return {
    operationId: 'open_pod_terminal',
    methods: ['get'],
    path: '/pods/{pod_id}/terminal',
    tag: 'Pods',
    summary:
      `A terminal in a running pod, over a WebSocket with the subprotocol ${TERMINAL_PROTOCOL} ` +
      '(docs/commands-and-files.md). What runs on it ends with the connection. ADMIN.',
    result: z.null(),
    replies: 'upgrade',
    subprotocol: TERMINAL_PROTOCOL,
    access: 'token',
    limits: { responseBytes: 0, idleMs: IDLE_MS, lifetimeMs: TERMINAL_DEADLINE_MAX_MS },
    handle: async ({ caller, params }) => ({
      kind: 'upgrade',
      protocol: TERMINAL_PROTOCOL,
      ...(await pods.openTerminal(caller, params['pod_id'] ?? '')),
    }),
  };
}
