import { ensured } from '../contract/orchestrator-harness.ts';
import { processOptions, runProcessOrchestrator } from '../integration/spawner/process-harness.ts';
import { databasePod, isDatabase } from './database-pods.ts';

/** Owns a process orchestrator and starts one database in it, to be killed meanwhile. Arguments: root, installation, database, uid, Neo4j's home. */
const [, , root = '', installation = '', database = '', uid = '', neo4jHome = ''] = process.argv;
if (!isDatabase(database)) throw new Error(`unknown database ${database}`);
const { orchestrator } = runProcessOrchestrator(processOptions(root, { installation, neo4jHome }));
await ensured(orchestrator, databasePod(database, { uid }));
process.stdout.write('begun\n');
// The orchestrator's own life goes on until this process is killed.
await new Promise(() => undefined);
