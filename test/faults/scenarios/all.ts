import type { Scenario } from '../scenario.ts';
import { burst } from './burst.ts';
import { clocks } from './clocks.ts';
import { outages } from './outages.ts';
import { replicaFaults } from './replicas.ts';
import { restored } from './restored.ts';

/** In the order in which they are tried. */
export const SCENARIOS: readonly Scenario[] = [...outages, ...replicaFaults, ...clocks, ...restored, burst];
