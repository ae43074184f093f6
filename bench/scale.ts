/**
 * node bench/scale.ts routes [COUNT = 100000]
 * So many pods' records in Redis (none of them runs) and one whole Podgate on it.
 *
 * node bench/scale.ts pods [COUNT = 1000] [REPLICAS = 2]
 * So many pods, for real, on the stand-in for the kubelet, with so many replicas behind HAProxy.
 */
import { machine } from './measure.ts';
import { measurePods } from './scale/pods.ts';
import { measureRoutes } from './scale/routes.ts';
import { helpIfAsked } from '../scripts/help.ts';

helpIfAsked(import.meta.filename);

const [what, count, replicas] = process.argv.slice(2);
console.log(machine());
switch (what) {
  case 'routes':
    await measureRoutes(Number(count ?? 100_000));
    break;
  case 'pods':
    await measurePods(Number(count ?? 1_000), Number(replicas ?? 2));
    break;
  default:
    console.error('node bench/scale.ts routes [COUNT] | pods [COUNT] [REPLICAS]');
    process.exitCode = 2;
}
