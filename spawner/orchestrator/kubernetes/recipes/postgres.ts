import { execProbe, fromSecret, POD_ADDRESS, type RecipeContext, type RecipeResult } from './recipe.ts';

/** Names that no role can have, however quoted. */
const IMPOSSIBLE_ROLES = new Set(['public', 'none']);

/**
 * Needs no password: a user who has changed it keeps a pod that is ready. The role is named since libpq would otherwise
 * look for the system's name of its user, and not ask at all where there is none.
 */
const IS_READY = [
  'exec pg_isready --quiet --timeout=3',
  `--host="$${POD_ADDRESS}" --port=5432 --username="$POSTGRES_USER"`,
].join(' ');

/**
 * The official image (docker.io/library/postgres), major 18 and later: data below /var/lib/postgresql, in a directory
 * of the major. While it makes its database, its server listens on a Unix socket alone, so that whoever asks the pod's
 * address is told that it is not ready.
 */
export function postgresRecipe({ workload, image, secretName }: RecipeContext): RecipeResult {
  const { credentials } = workload;
  if (credentials === null) return { kind: 'refused', reason: 'A Postgres needs credentials; this pod has none.' };
  const { username, password } = credentials;
  if (IMPOSSIBLE_ROLES.has(username)) {
    return { kind: 'refused', reason: `Postgres allows no user named "${username}": choose another pod_id.` };
  }
  return {
    kind: 'recipe',
    recipe: {
      image,
      command: [],
      args: [],
      user: 999,
      hasReadOnlyRoot: true,
      scratch: ['/tmp', '/var/run/postgresql'],
      dataPath: '/var/lib/postgresql',
      environment: [
        { name: 'POSTGRES_USER', value: username },
        { name: 'POSTGRES_DB', value: username },
        fromSecret('POSTGRES_PASSWORD', secretName, 'password'),
      ],
      secret: { username, password },
      probe: execProbe('sh', IS_READY),
      startSeconds: 900,
      // A checkpoint of much unwritten data takes its time.
      graceSeconds: 60,
      mayComplete: false,
      isRestricted: true,
    },
  };
}
