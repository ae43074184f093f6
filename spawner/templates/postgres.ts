import type { Template } from '../../core/template.ts';

export const postgresTemplate: Template = {
  name: 'template/postgres',
  aliases: ['postgres'],
  summary: 'PostgreSQL with a database, a user and a password of its own',
  image: 'docker.io/library/postgres:18',
  networking: { default: { protocol: 'postgres', port: 5432, ipAllowList: [] } },
  takesCommand: false,
  requiresCommand: false,
  credentials: { username: null },
  dataPath: '/var/lib/postgresql',
  readiness: { kind: 'postgres', stanza: 'default' },
};
