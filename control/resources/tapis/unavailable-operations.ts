import { z } from 'zod';

import { PodgateError } from '../../../core/errors.ts';
import type { Operation } from '../../http/operation.ts';
import { TAPIS_OPERATIONS, type TapisOperation } from './tapis-operations.ts';

/**
 * The operations of the Tapis Pods API that are not among those served: each is refused with 501 ('api.not-available') and
 * the name of what is missing, so that a client of the whole API gets a reason instead of "no such path". They are no part
 * of the OpenAPI document.
 */
export function unavailableOperations(served: readonly Operation[]): readonly Operation[] {
  const calls = new Set(served.flatMap(({ methods, path }) => methods.map((method) => callShape(method, path))));
  return TAPIS_OPERATIONS.filter(({ method, path }) => !calls.has(callShape(method, path))).map(refusedOperation);
}

/** Two calls of the same shape differ in the names of their parameters alone. */
function callShape(method: string, path: string): string {
  return `${method} ${path.replaceAll(/\{\w+\}/g, '{}')}`;
}

function refusedOperation({ method, path, operationId, subject, isOpen }: TapisOperation): Operation {
  const handle = async (): Promise<never> => {
    throw new PodgateError('api.not-available', {
      publicMessages: [
        `This release has no ${subject} (operation ${operationId}). /openapi.json describes every operation it has.`,
      ],
    });
  };
  const operation = {
    ...{ operationId, methods: [method], path, handle },
    ...{ tag: 'Misc', summary: `No ${subject}.`, result: z.null() },
  };
  return isOpen === true ? { ...operation, access: 'open' } : { ...operation, access: 'token' };
}
