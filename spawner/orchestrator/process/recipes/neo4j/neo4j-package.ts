import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { PinnedFile, PackageSource } from '../../packages/fetch-file.ts';
import type { PinnedPackage } from '../../packages/install-package.ts';
import { megabytes } from '../../packages/package-error.ts';

const LIST = join(import.meta.dirname, 'neo4j-files.txt');

export interface Neo4jPackage extends PinnedPackage {
  readonly version: string;
  /** `Neo4j Community 5.26.30 (GPLv3, 128 MB)`. */
  readonly title: string;
}

/** The Neo4j that Podgate downloads: a list of files, each with its checksum (decision 0057). */
export function readNeo4jPackage(): Neo4jPackage {
  const lines = readFileSync(LIST, 'utf8')
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'));
  const version = /^version (\S+)$/.exec(lines[0] ?? '')?.[1];
  if (version === undefined) throw new Error(`${LIST} names no version`);
  const files = lines.slice(1).map(parseFile);
  const bytes = files.reduce((sum, file) => sum + file.bytes, 0);
  return {
    name: `neo4j-community-${version}`,
    version,
    files,
    bytes,
    title: `Neo4j Community ${version} (GPLv3, ${megabytes(bytes)} MB)`,
    notice:
      `Neo4j Community ${version}, downloaded by Podgate from a Maven repository.\n` +
      'Neo4j Community Edition is licensed under the GNU General Public License, version 3\n' +
      '(https://www.gnu.org/licenses/gpl-3.0.html). The libraries it uses have licenses of their own;\n' +
      'each .jar file in lib contains its own.\n',
  };
}

function parseFile(line: string): PinnedFile {
  const [sha256 = '', bytes = '', path = ''] = line.split(' ');
  if (!/^[0-9a-f]{64}$/.test(sha256) || !/^[1-9]\d*$/.test(bytes) || !/^[\w.+-]+(\/[\w.+-]+)*\.jar$/.test(path)) {
    throw new Error(`${LIST} has a line that names no file: ${line}`);
  }
  return { sha256, bytes: Number(bytes), path };
}

/** The sentence that everybody reads before a byte is downloaded. */
export function announcement({ title }: Neo4jPackage, { from }: PackageSource): string {
  return `Downloading ${title} from ${from}, once for this machine.`;
}
