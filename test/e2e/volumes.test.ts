import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { canEnterNamespaces } from '../../proxy/socket/network-namespace.ts';
import { tryWalls } from '../../spawner/orchestrator/process/walls.ts';
import { Program } from '../support/program.ts';
import { until } from '../support/until.ts';

const walls = tryWalls({ asRoot: process.getuid?.() === 0, canEnter: canEnterNamespaces() });
const SCRIPT = `require('node:fs').appendFileSync('/mydata/starts', 'started\\n');
require('node:http').createServer((_, answer) => answer.end()).listen(process.env.PORT, '127.0.0.1')`;

describe.skipIf(!walls.canMount)('volumes of pods', () => {
  let program: Program;
  beforeAll(async () => {
    program = await Program.start({ workers: 1 });
  });
  afterAll(() => program.dispose());

  const download = async (path: string): Promise<string> => {
    const url = `http://127.0.0.1:${program.controlPort}/v3/pods/${path}`;
    const response = await fetch(url, { headers: { 'X-Tapis-Token': program.token } });
    return await response.text();
  };

  it('a pod writes to a volume that its user can read, at each start while it is permitted', async () => {
    expect((await program.api('POST', '/v3/pods/volumes', { volume_id: 'mydata' })).status).toBe(200);
    await program.createPod({
      ...{ pod_id: 'writer', pod_template: 'podgate/process', command: [process.execPath, '-e', SCRIPT] },
      volume_mounts: {
        '/mydata': { type: 'tapisvolume', source_id: 'mydata' },
        // Beside the directory in which Podgate, started as root, has the pods' own.
        '/var/lib/podgate-test/data': { type: 'tapisvolume', source_id: 'mydata' },
      },
    });
    await program.podStatus('writer', 'RUNNING');
    expect(await download('volumes/mydata/contents/starts')).toBe('started\n');
    expect((await program.api('DELETE', '/v3/pods/volumes/mydata')).status).toBe(409);

    // The record as the operator could have left it: whoever mounted it has no permission any more.
    await program.api('POST', '/v3/pods/volumes/mydata/permissions', { user: 'other', level: 'ADMIN' });
    await program.api('DELETE', '/v3/pods/volumes/mydata/permissions/admin');
    await program.api('GET', '/v3/pods/writer/restart');
    await program.podStatus('writer', 'ERROR');
    const { body } = await program.api('GET', '/v3/pods/writer');
    expect(JSON.stringify(body)).toContain('there is no volume mydata on which admin has USER');

    expect((await program.api('DELETE', '/v3/pods/writer')).status).toBe(200);
    await until('the volume can be deleted', async () => {
      const { status } = await program.api('DELETE', '/v3/pods/volumes/mydata');
      return status === 200;
    });
  });
});
