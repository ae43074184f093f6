import type { Route } from '../../../../core/route.ts';
import type { OwnResponse } from '../responses/own-response.ts';
import type { RequestHead } from '../wire/head.ts';
import type { GoodRequest } from './examine.ts';
import type { RealClient } from './real-client.ts';

/** A request whose client may connect to the pod. */
export interface PolicyRequest {
  readonly head: RequestHead;
  readonly request: GoodRequest;
  readonly requestId: string;
  readonly client: RealClient;
  readonly route: Route;
}

/**
 * Keeps a request from its pod by what is in it, whatever the pod's state: returns the response that the client gets in the
 * pod's place, such as a redirect to a login; null = the policy does not apply. Called for each request.
 */
export type RequestPolicy = (request: PolicyRequest) => OwnResponse | null;
