import { parentPort, workerData } from 'node:worker_threads';
import { readKeyring } from '../../../control/vault/keyring-file.ts';

/** Opens a keyring at the same moment as its siblings: all wait for `gate`. Posts the id of the sealing key. */
const { path, gate } = workerData as { readonly path: string; readonly gate: Int32Array };
parentPort?.postMessage('ready');
Atomics.wait(gate, 0, 0);
parentPort?.postMessage(readKeyring(path)[0].id);
