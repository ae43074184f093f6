import { z } from 'zod';

import { userNameProblem } from '../../auth/user-name.ts';
import { boundedList, boundedRecord, boundedText, ruled } from '../../http/bounded.ts';
import { nullAsAbsent } from './tapis-fields.ts';

const USERS_MAX = 100;
const USER_MAX_LENGTH = 128;
const HEADERS_MAX = 20;
const HEADER_NAME_MAX_LENGTH = 64;
const HEADER_VALUE_MAX_LENGTH = 256;
/** As upstream's. */
const RETURN_PATH_MAX_LENGTH = 180;
const EXCLUDED_PATHS_MAX = 20;
const EXCLUDED_PATH_MAX_LENGTH = 128;

/** Fields that say where a message ends, whose it is, or which the gateway writes itself; WSGI takes `_` for `-`. */
const NOT_FOR_OWNERS =
  /^(?:host|connection|keep-alive|te|trailer|transfer-encoding|upgrade|expect|content-.*|cookie|authorization|proxy|proxy-.*|forwarded|x-forwarded-.*|x-real-ip|x-request-id|x-tapis-token|client-cert.*|x-client-cert.*|x-ssl-.*|ssl-client-.*|http2-settings)$/i;

const headerName = boundedText(HEADER_NAME_MAX_LENGTH)
  .regex(/^[A-Za-z][A-Za-z0-9_-]*$/, 'must contain only letters, digits, "-" and "_" and start with a letter')
  .refine((name) => !NOT_FOR_OWNERS.test(name.replaceAll('_', '-')), 'is written by the gateway or the client alone');

/** The login in front of an entry of networking. */
export const loginFields = {
  tapis_auth: nullAsAbsent(z.boolean().optional()).describe(
    'Lets in only users who have logged in at the tenant; for http. Default: false.',
  ),
  tapis_auth_allowed_users: nullAsAbsent(
    boundedList(boundedText(USER_MAX_LENGTH).check(ruled(allowedUserProblem)), USERS_MAX).optional(),
  ).describe(
    'User names, "*" for every user of the tenant, AUTHORIZED_READS, AUTHORIZED_USERS or AUTHORIZED_ADMINS for those who ' +
      'have at least READ, USER or ADMIN on the pod. Default: ["AUTHORIZED_USERS"].',
  ),
  tapis_auth_response_headers: nullAsAbsent(
    boundedRecord(
      headerName,
      boundedText(HEADER_VALUE_MAX_LENGTH).regex(/^[\x20-\x7e]*$/, 'must contain only printable ASCII characters'),
      { most: HEADERS_MAX },
    )
      .refine(
        (headers) =>
          new Set(Object.keys(headers).map((name) => name.toLowerCase())).size === Object.keys(headers).length,
        'names a header twice',
      )
      .optional(),
  ).describe(
    'Header fields that the pod receives, and never from outside: <<tapisusername>>, <<tapistenantid>> and <<tapissiteid>> ' +
      'are replaced.',
  ),
  tapis_auth_return_path: nullAsAbsent(
    boundedText(RETURN_PATH_MAX_LENGTH)
      .regex(/^(?:\/[\x21-\x7e]*)?$/, 'must be a path that begins with "/"')
      .optional(),
  ).describe('Where browsers arrive after the login. Default: at the page that they asked for.'),
  tapis_auth_excluded_paths: nullAsAbsent(
    boundedList(boundedText(EXCLUDED_PATH_MAX_LENGTH).check(ruled(excludedPathProblem)), EXCLUDED_PATHS_MAX).optional(),
  ).describe(
    'Paths that need no login, each with everything below it: "/static" is for "/static" and "/static/app.js", not for ' +
      '"/statics". The pod is not told who asks there. Default: none.',
  ),
};

function excludedPathProblem(path: string): string | null {
  if (path === '/') return 'would exclude every path: leave out tapis_auth instead';
  if (!/^(?:\/[\w~!$&'()*+,=@.-]+)+\/?$/.test(path) || /\/\.{1,2}(?:\/|$)/.test(path)) {
    return 'must be a path such as "/static": segments of letters, digits and -._~!$&\'()*+,=@, none of them empty, "." or ".."';
  }
  return /^\/\.podgate(?:\/|$)/.test(path) ? 'is served by the gateway itself' : null;
}

function allowedUserProblem(name: string): string | null {
  return name === '*' ? null : userNameProblem(name);
}
