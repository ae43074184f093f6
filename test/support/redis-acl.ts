import { readFileSync } from 'node:fs';

const PAGE = new URL('../../docs/operations.md', import.meta.url);

/** The lines with which docs/operations.md repairs the ACL file of earlier releases; run in an overlay. */
export function repairOfOperationsPage(): string {
  const [, lines] = /<!-- tested: repair -->\n\s*```sh\n(.*?)```/s.exec(readFileSync(PAGE, 'utf8')) ?? [];
  if (lines === undefined) throw new Error('docs/operations.md no longer says how to repair secrets/users.acl');
  return lines;
}

/** The ACL file that docs/operations.md has an operator write, with this site's keys and this password. */
export function usersOfOperationsPage(of: { readonly site: string; readonly password: string }): string {
  const [, users] = /^cat > secrets\/users\.acl <<END\n(.*?)^END$/ms.exec(readFileSync(PAGE, 'utf8')) ?? [];
  if (users === undefined) throw new Error('docs/operations.md no longer says how to write secrets/users.acl');
  return users.replaceAll('{prod}', `{${of.site}}`).replaceAll('$REDIS', of.password);
}
