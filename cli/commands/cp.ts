import type { Command } from 'commander';
import { CliError, EXIT_USAGE } from '../cli-error.ts';
import { createCommand, type OutputOptions, withJson, withTarget } from '../command.ts';
import { printResult } from '../output/print.ts';
import { downloadFile, uploadFile } from '../pods/copy-file.ts';
import { chooseTarget, type TargetOptions } from '../target/choose-target.ts';

/** A pod and a path in it; what has a slash before the colon is a file of this machine. */
const IN_POD = /^([a-z][a-z0-9-]*):(.*)$/s;

export function cpCommand(): Command {
  return withTarget(
    withJson(
      createCommand('cp', {
        description: `Copies one file to or from a running pod, as the pod's user. ADMIN.

A path in a pod is absolute or relative to the pod's working directory. If the destination is a directory or ends with a
slash, the file keeps its name. A file appears once it is complete.`,
        examples: [
          ['cp report.csv mypod:/data/', ''],
          ['cp mypod:/data/report.csv .', ''],
          ['cp mypod:log.txt - | less', 'to the standard output'],
          ['cp ./a:b.txt mypod:b.txt', 'a name with a slash before the colon is on this machine'],
        ],
      }),
    ),
  )
    .argument('<source>', 'FILE or POD:PATH')
    .argument('<destination>', 'POD:PATH or FILE; - is the standard output')
    .action(async (source: string, destination: string, options: OutputOptions & TargetOptions) => {
      const [from, to] = [IN_POD.exec(source), IN_POD.exec(destination)];
      if ((from === null) === (to === null)) {
        throw new CliError(EXIT_USAGE, 'name one file of a pod, as POD:PATH, and one of this machine');
      }
      const target = chooseTarget(options);
      if (to !== null) {
        const [, podId = '', path = ''] = to;
        const copied = await uploadFile(target, podId, { file: source, path: path === '' ? './' : path });
        printResult(options, copied, `${podId}:${copied.path} (${copied.size} bytes)\n`);
        return;
      }
      const [, podId = '', path = ''] = from ?? [];
      if (path === '') throw new CliError(EXIT_USAGE, `name a file: ${podId}:PATH`);
      const copied = await downloadFile(target, podId, { path, file: destination });
      if (destination !== '-') printResult(options, copied, `${copied.path} (${copied.size} bytes)\n`);
    });
}
