import type { Template } from '../../core/template.ts';

export const helloTemplate: Template = {
  name: 'podgate/hello',
  aliases: ['hello'],
  summary: 'A tiny HTTP pod that says hello, for testing the whole path',
  // Podgate's own, under the name that it is built with (Dockerfile, deploy/).
  image: 'podgate',
  networking: { default: { protocol: 'http', port: 8080, ipAllowList: [] } },
  takesCommand: false,
  requiresCommand: false,
  credentials: null,
  dataPath: null,
  readiness: { kind: 'http', stanza: 'default', path: '/healthz' },
};
