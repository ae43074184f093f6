import type { Command } from 'commander';

export const GROUPS = ['Connect', 'Operate this installation', 'Set up'] as const;

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
    name: 'psql',
    group: 'Connect',
    summary: 'run psql on a Postgres pod, through the gateway',
    load: async () => (await import('./commands/psql.ts')).psqlCommand(),
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
    name: 'restart',
    group: 'Operate this installation',
    summary: 'restart Podgate with the current code and configuration, without downtime',
    load: async () => (await import('./commands/restart.ts')).restartCommand(),
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
    name: 'ca',
    group: 'Set up',
    summary: 'show how programs, or this machine, can trust the development CA',
    load: async () => (await import('./commands/ca.ts')).caCommand(),
  },
];
