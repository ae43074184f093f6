import type { Command } from 'commander';
import { createCommand, type OutputOptions, withJson, withTarget } from '../command.ts';
import { boltAccessOf } from '../pods/pod-access.ts';
import { chooseTarget, type TargetOptions } from '../target/choose-target.ts';

interface Options extends OutputOptions, TargetOptions {
  readonly command?: string;
}

/** Cypher on a pod, through the gateway. */
export function cypherCommand(): Command {
  return withTarget(
    withJson(
      createCommand('cypher', {
        description: `Runs Cypher on a Neo4j pod, through the gateway, with the pod's credentials and the certificate verified.

It waits for a pod that is starting. Statements end with a semicolon at the end of a line; at the prompt, :exit ends.`,
        examples: [
          ['cypher mygraph', 'a prompt'],
          [`cypher mygraph -c 'MATCH (n) RETURN count(n)'`, ''],
          ['cypher mygraph < movies.cypher', 'until one fails'],
        ],
      }),
    ),
  )
    .argument('<pod>')
    .option('-c, --command <statement>', 'run one statement')
    .action(async (podId: string, options: Options) => {
      const target = chooseTarget(options);
      const access = await boltAccessOf(target, podId);
      const { runStatements } = await import('../cypher/run-statements.ts');
      process.exitCode = await runStatements(access, {
        statement: options.command ?? null,
        json: options.json === true,
        caPath: target.caPath,
      });
    });
}
