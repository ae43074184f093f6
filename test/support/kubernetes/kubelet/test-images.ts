import { constants } from 'node:os';
import { join } from 'node:path';
import { type Behaviour, BEHAVIOURS, type BehaviourInput } from './behaviours.ts';
import { type ContainerContext, endOfCode, type Image, type RunningContainer } from './image.ts';
import { startBeside, startProcess } from './process-container.ts';

/** Like the `nonroot` user of many images. */
const NON_ROOT = 65_532;

/**
 * The images podgate.test/*: `inside`, each is a few listeners in this process, so that 1,000 pods cost little;
 * otherwise a Node process of its own. podgate.test/command runs the pod's command as a process in both cases.
 */
export function testImages(mode: 'inside' | 'processes'): ReadonlyMap<string, Image> {
  const images = new Map<string, Image>();
  for (const [name, behaviour] of Object.entries(BEHAVIOURS)) {
    images.set(name, {
      user: NON_ROOT,
      start: async (context) => (mode === 'inside' ? startInside(behaviour, context) : startOutside(name, context)),
    });
  }
  images.set('podgate.test/command', { user: NON_ROOT, start: async (context) => startCommand(context) });
  return images;
}

function startInside(behaviour: Behaviour, context: ContainerContext): RunningContainer {
  const [told, killed] = [new AbortController(), new AbortController()];
  let killCode: number | null = null;
  const finished = behaviour(inputOf(context), context.print, { told: told.signal, killed: killed.signal });
  return {
    pid: null,
    ended: finished.then((code) => endOfCode(killCode ?? code)),
    signal(name) {
      if (name !== 'SIGTERM') {
        killCode = 128 + constants.signals[name];
        killed.abort();
      }
      told.abort();
    },
    startBeside: (command) => startBeside(command, execOptions(context)),
  };
}

function startOutside(name: string, context: ContainerContext): RunningContainer {
  return startProcess({
    command: [process.execPath, join(import.meta.dirname, 'behaviour-main.ts'), name],
    environment: { PATH: process.env['PATH'] ?? '', STANDIN_INPUT: JSON.stringify(inputOf(context)) },
    cwd: '/',
    // Our own checkout may be closed to other users; the test images need no user of their own.
    user: null,
    print: context.print,
  });
}

function startCommand(context: ContainerContext): RunningContainer {
  const { command = [], args = [] } = context.container;
  return startProcess({ ...execOptions(context), command: [...command, ...args], print: context.print });
}

const execOptions = ({ environment, user }: ContainerContext) => ({
  environment: { PATH: process.env['PATH'] ?? '', ...environment },
  cwd: '/',
  user,
});

function inputOf({ pod, container, address, environment, mounts, restarts }: ContainerContext): BehaviourInput {
  const { name, namespace, uid, labels = {} } = pod.metadata;
  // The gateway's word for whose pod it is; the object's own uid changes with every restart of the pod.
  const podUid = Object.entries(labels).find(([label]) => label === 'uid' || label.endsWith('/uid'))?.[1] ?? uid;
  return {
    environment,
    address,
    ports: (container.ports ?? [])
      .filter(({ protocol = 'TCP' }) => protocol === 'TCP')
      .map((port) => port.containerPort),
    identity: { uid: podUid, objectUid: uid, namespace, name, address, restarts, labels },
    volumes: mounts.map(({ directory }) => directory),
  };
}
