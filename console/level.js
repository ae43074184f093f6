import { get } from '/console/api.js';
import { useEffect, useState } from '/console/ui.js';

const LEVELS = ['READ', 'USER', 'ADMIN'];

/** Tells whether the user may do what needs a level on the object at `path`. The page shows no more; the API decides. */
export function useLevel(path, { username, is_administrator: isAdministrator }) {
  const [level, setLevel] = useState(isAdministrator ? 'ADMIN' : null);
  useEffect(() => {
    if (isAdministrator) return;
    get(`${path}/permissions`).then(
      // Permissions for all users of a tenant are for READ alone.
      ({ permissions }) => setLevel(LEVELS.findLast((each) => permissions.includes(`${username}:${each}`)) ?? 'READ'),
      () => setLevel('READ'),
    );
  }, [path]);
  return (needed) => LEVELS.indexOf(level) >= LEVELS.indexOf(needed);
}
