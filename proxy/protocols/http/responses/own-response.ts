import type { ErrorCode } from '../../../../core/errors.ts';
import type { RequestTelemetry } from '../../../telemetry/request-telemetry.ts';
import { renderProblem, type RenderedResponse } from './page.ts';
import type { Problem } from './problem.ts';

/** A response that is the same whatever the client accepts: a redirect, or a page that is not about an error. */
export interface WholeResponse {
  readonly kind: 'whole';
  /** One that has a body. */
  readonly status: number;
  /** Why the request is not forwarded; null = for no error. */
  readonly code: ErrorCode | null;
  readonly requestId: string;
  /** Flat name, value list, without framing. */
  readonly headers: readonly string[];
  readonly body: Buffer;
}

/** What the gateway responds with in the pod's place. */
export type OwnResponse = Problem | WholeResponse;

/** `version`: see renderProblem. */
export function renderResponse(response: OwnResponse, accept: string, version: string | null): RenderedResponse {
  if (response.kind === 'problem') return renderProblem(response, accept, version);
  const { status, headers, body, requestId } = response;
  return {
    status,
    headers: [...headers, 'Content-Length', String(body.length), 'X-Request-Id', requestId],
    body,
  };
}

/** Records that the request was answered with it. */
export function noteResponse(telemetry: RequestTelemetry, { status, code }: OwnResponse): void {
  telemetry.status = status;
  telemetry.code = code;
  telemetry.end = 'refused';
}
