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

/** Who makes a request, where the pod has a login. */
export interface Visitor {
  readonly kind: 'visitor';
  /** Null: nobody has logged in, and the path is excluded from the login. */
  readonly user: string | null;
  /** Flat name, value list: what the pod is told. */
  readonly headers: readonly string[];
  /** Names of fields that the pod does not get from the client, in lower case and with `-` for `_`. */
  readonly withheld: ReadonlySet<string>;
}

/** It has to be asked first: calls back, later, when the policy can decide. */
export interface Unproven {
  readonly kind: 'unproven';
  readonly prove: (done: () => void) => void;
}

/**
 * Decides by what is in a request, whatever the pod's state: returns the response that the client gets in the pod's place,
 * such as a redirect to a login, or who the client is.
 */
export type RequestPolicy = (request: PolicyRequest) => OwnResponse | Visitor | Unproven;
