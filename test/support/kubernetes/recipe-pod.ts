import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { V1Pod } from '@kubernetes/client-node';
import type { WorkloadSpec } from '../../../core/workloads.ts';
import { podManifest } from '../../../spawner/orchestrator/kubernetes/manifests/pod.ts';
import type { Recipe } from '../../../spawner/orchestrator/kubernetes/recipes/recipe.ts';
import { recipeOf } from '../../../spawner/orchestrator/kubernetes/recipes/recipes.ts';
import { createTemplateCatalog } from '../../../spawner/templates/catalog.ts';
import { kubernetesSettings } from '../kubernetes-orchestrator.ts';
import type { Image, RunningContainer } from './kubelet/image.ts';
import type { Container, Pod } from './kubelet/objects.ts';
import { execProbe } from './kubelet/process-container.ts';

export interface RecipeContainer extends RunningContainer {
  /** Exit code of a probe, asked once. */
  probe(kind: 'startup' | 'readiness'): Promise<number>;
  /** Until the startup probe and then the readiness probe succeed. Throws when the container ends before. */
  becomesReady(): Promise<void>;
  output(): string;
}

/** A Pod as its recipe makes it, run without a cluster: its volumes stay from one start to the next. */
export interface RecipePod {
  readonly address: string;
  /** Where its data lies on this machine. */
  readonly data: string;
  readonly recipe: Recipe;
  /** `asBefore`: by the image's own entrypoint, as earlier releases did. */
  start(change?: { readonly asBefore?: boolean }): Promise<RecipeContainer>;
  /** Ends what runs, and removes everything. */
  remove(): Promise<void>;
}

const PROBE_TIMEOUT_MS = 30_000;
const PROBE_PAUSE_MS = 200;

export function createRecipePod(workload: WorkloadSpec, image: Image): RecipePod {
  const settings = kubernetesSettings();
  const found = recipeOf(workload, createTemplateCatalog(), settings);
  if (found.kind === 'refused') throw new Error(found.reason);
  const { recipe } = found;
  const manifest = podManifest({ workload, settings }, recipe);
  const root = mkdtempSync(join(tmpdir(), 'podgate-recipe-'));
  chmodSync(root, 0o755);
  const part = () => 1 + Math.floor(Math.random() * 250);
  const address = `127.${part()}.${part()}.${part()}`;
  const user = { uid: recipe.user ?? 0, gid: recipe.user ?? 0 };
  const started: RecipeContainer[] = [];
  const directoryOf = (volume: string) => {
    const directory = join(root, 'volumes', volume);
    mkdirSync(directory, { recursive: true });
    chownSync(directory, 0, user.gid);
    chmodSync(directory, 0o2775);
    return directory;
  };
  const container = containerOf(manifest);
  const mounts = (container.volumeMounts ?? []).map(({ name, mountPath }) => ({
    mountPath,
    directory: directoryOf(name),
    readOnly: false,
  }));
  return {
    address,
    data: mounts.find(({ mountPath }) => mountPath === recipe.dataPath)?.directory ?? '',
    recipe,
    async start({ asBefore = false } = {}) {
      const restarts = started.length;
      let output = '';
      const running = await image.start({
        pod: manifest as unknown as Pod,
        container: { ...container, ...(asBefore ? { command: undefined } : {}) } as unknown as Container,
        address,
        environment: environmentOf(container, recipe, address),
        mounts,
        resolve: (path) => join(root, 'scratch', String(restarts), path),
        user,
        restarts,
        print: (chunk) => {
          output += String(chunk);
        },
      });
      let hasEnded = false;
      void running.ended.then(() => {
        hasEnded = true;
      });
      const probe = (kind: 'startup' | 'readiness') => {
        const asked = kind === 'startup' ? container.startupProbe : container.readinessProbe;
        return execProbe(running, asked?.exec?.command ?? [], PROBE_TIMEOUT_MS);
      };
      const becomesReady = async () => {
        for (const kind of ['startup', 'readiness'] as const) {
          while ((await probe(kind)) !== 0) {
            if (hasEnded) throw new Error(`the container has ended: ${output.slice(-2_000)}`);
            await new Promise((resolve) => setTimeout(resolve, PROBE_PAUSE_MS));
          }
        }
      };
      const run = { ...running, probe, becomesReady, output: () => output };
      started.push(run);
      return run;
    },
    async remove() {
      for (const run of started) run.signal('SIGKILL');
      await Promise.all(started.map((run) => run.ended));
      rmSync(root, { recursive: true, force: true });
    },
  };
}

function containerOf(manifest: V1Pod) {
  const container = manifest.spec?.containers[0];
  if (container === undefined) throw new Error('the pod has no container');
  return container;
}

function environmentOf(
  container: ReturnType<typeof containerOf>,
  recipe: Recipe,
  address: string,
): Readonly<Record<string, string>> {
  const values = (container.env ?? []).map(({ name, value, valueFrom }) => {
    const key = valueFrom?.secretKeyRef?.key;
    if (key !== undefined) return [name, recipe.secret?.[key] ?? ''];
    return [name, valueFrom?.fieldRef === undefined ? (value ?? '') : address];
  });
  return Object.fromEntries(values) as Record<string, string>;
}
