/**
 * node bench/scale.ts routes [COUNT = 100000]
 * So many pods' records in Redis (none of them runs) and one whole Podgate on it.
 */
import { machine } from './measure.ts';
import { measureRoutes } from './scale/routes.ts';

const [what, count] = process.argv.slice(2);
console.log(machine());
switch (what) {
  case 'routes':
    await measureRoutes(Number(count ?? 100_000));
    break;
  default:
    console.error('node bench/scale.ts routes [COUNT]');
    process.exitCode = 2;
}
