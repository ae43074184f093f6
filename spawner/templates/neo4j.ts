import type { Template } from '../../core/template.ts';

export const neo4jTemplate: Template = {
  name: 'template/neo4j',
  aliases: ['neo4j'],
  summary: 'Neo4j: Bolt at the default host, the browser and the HTTP API at the "browser" one',
  image: 'docker.io/library/neo4j:5.26-community',
  networking: {
    default: { protocol: 'tcp', port: 7687, ipAllowList: [] },
    browser: { protocol: 'http', port: 7474, ipAllowList: [] },
  },
  takesCommand: false,
  requiresCommand: false,
  credentials: { username: 'neo4j' },
  dataPath: '/data',
  readiness: { kind: 'bolt', stanza: 'default' },
};
