import type { Command } from 'commander';

export const GROUPS = ['Pods', 'Connect', 'Log in', 'Operate this installation', 'Set up'] as const;

export interface CommandEntry {
  readonly name: string;
  readonly group: (typeof GROUPS)[number];
  /** For the list of commands. */
  readonly summary: string;
  /** Only the command that is run is loaded: most of the start is the loading of modules. */
  readonly load: () => Promise<Command>;
}

/** All commands, in the order in which help lists them. Each is one file of commands/. */
export const COMMANDS: readonly CommandEntry[] = [
  {
    name: 'create',
    group: 'Pods',
    summary: 'create a pod from a template or an image, and wait until it is reached',
    load: async () => (await import('./commands/create.ts')).createPodCommand(),
  },
  {
    name: 'list',
    group: 'Pods',
    summary: 'list your pods',
    load: async () => (await import('./commands/list.ts')).listCommand(),
  },
  {
    name: 'show',
    group: 'Pods',
    summary: 'show one pod',
    load: async () => (await import('./commands/show.ts')).showCommand(),
  },
  {
    name: 'watch',
    group: 'Pods',
    summary: 'watch your pods change',
    load: async () => (await import('./commands/watch.ts')).watchCommand(),
  },
  {
    name: 'logs',
    group: 'Pods',
    summary: 'print what a pod printed; -f follows',
    load: async () => (await import('./commands/logs.ts')).logsCommand(),
  },
  {
    name: 'start',
    group: 'Pods',
    summary: 'start pods',
    load: async () => (await import('./commands/start.ts')).startCommand(),
  },
  {
    name: 'stop',
    group: 'Pods',
    summary: 'stop pods',
    load: async () => (await import('./commands/stop.ts')).stopCommand(),
  },
  {
    name: 'restart',
    group: 'Pods',
    summary: 'restart pods; without a pod, Podgate itself, without downtime',
    load: async () => (await import('./commands/restart.ts')).restartCommand(),
  },
  {
    name: 'delete',
    group: 'Pods',
    summary: 'delete pods with their data',
    load: async () => (await import('./commands/delete.ts')).deleteCommand(),
  },
  {
    name: 'share',
    group: 'Pods',
    summary: 'show or change who may do what with a pod',
    load: async () => (await import('./commands/share.ts')).shareCommand(),
  },
  {
    name: 'connections',
    group: 'Pods',
    summary: 'show who is connected, and who was refused and why',
    load: async () => (await import('./commands/connections.ts')).connectionsCommand(),
  },
  {
    name: 'psql',
    group: 'Connect',
    summary: 'run psql on a Postgres pod, through the gateway',
    load: async () => (await import('./commands/psql.ts')).psqlCommand(),
  },
  {
    name: 'cypher',
    group: 'Connect',
    summary: 'run Cypher on a Neo4j pod, through the gateway',
    load: async () => (await import('./commands/cypher.ts')).cypherCommand(),
  },
  {
    name: 'url',
    group: 'Connect',
    summary: 'print the connection string of a pod, for any driver',
    load: async () => (await import('./commands/url.ts')).urlCommand(),
  },
  {
    name: 'env',
    group: 'Connect',
    summary: 'print the connection as variables, for a shell or .env',
    load: async () => (await import('./commands/env.ts')).envCommand(),
  },
  {
    name: 'open',
    group: 'Connect',
    summary: 'open a pod in your browser',
    load: async () => (await import('./commands/open.ts')).openCommand(),
  },
  {
    name: 'login',
    group: 'Log in',
    summary: 'log in to an installation with a token; list logins',
    load: async () => (await import('./commands/login.ts')).loginCommand(),
  },
  {
    name: 'logout',
    group: 'Log in',
    summary: 'forget a login',
    load: async () => (await import('./commands/logout.ts')).logoutCommand(),
  },
  {
    name: 'token',
    group: 'Operate this installation',
    summary: 'print a token for a user of the default tenant',
    load: async () => (await import('./commands/token.ts')).tokenCommand(),
  },
  {
    name: 'queue',
    group: 'Operate this installation',
    summary: 'list what waits for the spawner, and the keys that are parked; retry them',
    load: async () => (await import('./commands/queue.ts')).queueCommand(),
  },
  {
    name: 'kept-volumes',
    group: 'Operate this installation',
    summary: 'list or remove volumes of deleted pods, which still count against a quota',
    load: async () => (await import('./commands/kept-volumes.ts')).keptVolumesCommand(),
  },
  {
    name: 'certs',
    group: 'Operate this installation',
    summary: 'list, renew, import and export certificates',
    load: async () => (await import('./commands/certs.ts')).certsCommand(),
  },
  {
    name: 'recover',
    group: 'Operate this installation',
    summary: 'reconcile a suspect store (empty, older, foreign) with what runs',
    load: async () => (await import('./commands/recover.ts')).recoverCommand(),
  },
  {
    name: 'confirm',
    group: 'Operate this installation',
    summary: 'confirm the removal of workloads without a pod, where there are many',
    load: async () => (await import('./commands/confirm.ts')).confirmCommand(),
  },
  {
    name: 'backup',
    group: 'Operate this installation',
    summary: 'copy the embedded store while Podgate runs',
    load: async () => (await import('./commands/backup.ts')).backupCommand(),
  },
  {
    name: 'migrate',
    group: 'Operate this installation',
    summary: 'move the embedded store into the Redis of PODGATE_REDIS_URL',
    load: async () => (await import('./commands/migrate.ts')).migrateCommand(),
  },
  {
    name: 'doctor',
    group: 'Operate this installation',
    summary: 'check this installation, and what its cluster really enforces',
    load: async () => (await import('./commands/doctor.ts')).doctorCommand(),
  },
  {
    name: 'install',
    group: 'Set up',
    summary: 'put podgate on the PATH, or install what templates run: install command, install neo4j',
    load: async () => (await import('./commands/install.ts')).installCommand(),
  },
  {
    name: 'completion',
    group: 'Set up',
    summary: 'print a completion script for bash, zsh or fish',
    load: async () => (await import('./commands/completion.ts')).completionCommand(),
  },
  {
    name: 'ca',
    group: 'Set up',
    summary: 'show how programs, or this machine, can trust the development CA',
    load: async () => (await import('./commands/ca.ts')).caCommand(),
  },
];
