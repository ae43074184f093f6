import type { Stanza } from './pod.ts';

/** How to find out that a workload answers. `stanza` names the port asked. */
export type Readiness =
  | { readonly kind: 'tcp'; readonly stanza: string }
  | { readonly kind: 'http'; readonly stanza: string; readonly path: string }
  /** A StartupMessage that is answered by anything but 57P03, then, where the password is known, a login and a query. */
  | { readonly kind: 'postgres'; readonly stanza: string }
  /** A Bolt handshake that is answered with a version, then, where the password is known, a login and a query. */
  | { readonly kind: 'bolt'; readonly stanza: string };

/** A template is data: what to run and how it is reached. The orchestrator adds how it runs things. */
export interface Template {
  /** Such as `template/postgres`. */
  readonly name: string;
  /** Other names users may write, such as `postgres`. */
  readonly aliases: readonly string[];
  readonly summary: string;
  /** Image for orchestrators that run containers; null = this template is for the process orchestrator only. */
  readonly image: string | null;
  /** Fixed networking, or null: the user's counts. */
  readonly networking: Readonly<Record<string, Stanza>> | null;
  /** Users may give command and arguments. Otherwise they are refused with a sentence. */
  readonly takesCommand: boolean;
  readonly requiresCommand: boolean;
  /** Null = no credentials. A null user name = the pod id. */
  readonly credentials: { readonly username: string | null } | null;
  /** Where the data lives inside the workload (`.`: its working directory); null = it keeps none. */
  readonly dataPath: string | null;
  readonly readiness: Readiness;
}

export interface TemplateCatalog {
  /** The template a user means by `pod_template` or `template` ("neo4j", "template/neo4j"), or null. */
  find(written: string): Template | null;
  list(): readonly Template[];
}
