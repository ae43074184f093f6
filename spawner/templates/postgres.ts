import type { Template } from '../../core/template.ts';

export const postgresTemplate: Template = {
  name: 'template/postgres',
  aliases: ['postgres'],
  summary: 'PostgreSQL with its own database, user and password',
  image: 'docker.io/library/postgres:18',
  networking: { default: { protocol: 'postgres', port: 5432, ipAllowList: [] } },
  takesCommand: false,
  requiresCommand: false,
  credentials: { username: null },
  dataPath: '/var/lib/postgresql',
  readiness: { kind: 'postgres', stanza: 'default' },
};
