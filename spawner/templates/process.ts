import type { Template } from '../../core/template.ts';

export const processTemplate: Template = {
  name: 'podgate/process',
  aliases: [],
  summary: 'Runs `command` on this machine; it listens on PORT, and on PORT_<NAME> for each further stanza',
  image: null,
  networking: null,
  takesCommand: true,
  requiresCommand: true,
  credentials: null,
  dataPath: '.',
  readiness: { kind: 'tcp', stanza: 'default' },
};
