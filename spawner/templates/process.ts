import type { Template } from '../../core/template.ts';

export const processTemplate: Template = {
  name: 'podgate/process',
  aliases: [],
  summary:
    'Runs your own command on this machine. It must listen on $PORT, and on $PORT_<NAME> for each other entry of networking',
  image: null,
  networking: null,
  takesCommand: true,
  requiresCommand: true,
  credentials: null,
  dataPath: '.',
  readiness: { kind: 'tcp', stanza: 'default' },
};
