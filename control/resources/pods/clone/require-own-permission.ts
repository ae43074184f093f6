import { mayClone } from '../../../../core/data-origin.ts';
import { PodgateError } from '../../../../core/errors.ts';
import type { Caller } from '../../../auth/authenticator.ts';

/** Throws 'api.forbidden' for an administrator without a permission. `act`: such as `Cloning`. `on`: such as `pod mypg`. */
export function requireOwnPermission(
  record: Parameters<typeof mayClone>[0],
  { username }: Caller,
  { act, on }: { readonly act: string; readonly on: string },
): void {
  if (mayClone(record, username)) return;
  throw new PodgateError('api.forbidden', {
    publicMessages: [
      `${act} needs USER on ${on} by a permission of your own: the data is copied later, without your token.`,
    ],
  });
}
