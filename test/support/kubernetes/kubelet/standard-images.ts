import type { Image } from './image.ts';
import { neo4jImage } from './neo4j-image.ts';
import { podgateImage } from './podgate-image.ts';
import { postgresImage } from './postgres-image.ts';
import { testImages } from './test-images.ts';

/** Every image that the stand-in knows by itself. */
export function standardImages(testPods: 'inside' | 'processes'): ReadonlyMap<string, Image> {
  return new Map([
    ...testImages(testPods),
    ['podgate', podgateImage()],
    ['docker.io/library/postgres:18', postgresImage()],
    ['docker.io/library/neo4j:5.26-community', neo4jImage()],
  ]);
}
