import { mkdirSync, readdirSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TLSSocket } from 'node:tls';
import { until } from '../../support/until.ts';
import type { Attack } from '../attack.ts';
import { DOOR_FLOOD } from '../programs.ts';
import { pause, type Stage } from '../stage.ts';

const ATTACKER = 'mallory';
const OWNER = 'alice';
const MIB = 1 << 20;
const BOUNDARY = 'boundary';
const FILE_HEAD = `--${BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n`;
const FORM_END = `\r\n--${BOUNDARY}--\r\n`;
/** As documented (docs/operations.md). */
const CALLS_PER_USER = 64;
const COMMANDS_PER_USER = 4;
const STREAMS_PER_USER = 16;
/** Four archives of 64 levels, two for each level, and what Podgate has open anyway. */
const DESCRIPTORS_OF_ARCHIVES = 4 * 2 * 66;

interface Request {
  readonly line: string;
  readonly headers?: readonly string[];
  readonly body?: string | Buffer;
}

/** A connection that has sent this, as the attacker; null where the gateway did not take it. */
async function send(stage: Stage, { line, headers = [], body = '' }: Request): Promise<TLSSocket | null> {
  const socket = await stage.connect('localhost');
  if (socket === null) return null;
  const token = `X-Tapis-Token: ${await stage.tokenOf(ATTACKER)}`;
  socket.write([`${line} HTTP/1.1`, 'Host: localhost', token, ...headers, '', ''].join('\r\n'));
  if (body.length > 0) socket.write(body);
  return socket;
}

/** Of the response; 0: there is none within `ms`. */
function statusOf(socket: TLSSocket | null, ms: number): Promise<number> {
  return new Promise((resolve) => {
    const end = (status: number): void => {
      clearTimeout(timer);
      resolve(status);
    };
    const timer = setTimeout(() => end(0), ms);
    if (socket === null) end(0);
    socket
      ?.once('data', (head: Buffer) => end(Number(head.toString('latin1').slice(9, 12))))
      .once('close', () => end(0));
  });
}

const uploadOf = (path: string, length: number): Request => ({
  line: `POST /v3/pods/volumes/${path}`,
  headers: [`Content-Type: multipart/form-data; boundary=${BOUNDARY}`, `Content-Length: ${length}`],
});

async function upload(stage: Stage, path: string, content: Buffer): Promise<void> {
  const body = Buffer.concat([Buffer.from(FILE_HEAD), content, Buffer.from(FORM_END)]);
  const socket = await send(stage, { ...uploadOf(path, body.length), body });
  const status = await statusOf(socket, 10_000);
  socket?.destroy();
  if (status !== 200) throw new Error(`an upload ended with ${status}`);
}

async function createVolume(stage: Stage, volumeId: string): Promise<void> {
  const { status } = await stage.api(ATTACKER, 'POST', '/v3/pods/volumes', { volume_id: volumeId });
  if (status !== 200) throw new Error(`creating a volume ended with ${status}`);
}

const filesRoot = (stage: Stage): string => join(stage.podsRoot, 'files');

/** What uploads have written that are not complete. */
function incoming(stage: Stage): number {
  return readdirSync(filesRoot(stage)).flatMap((uid) => readdirSync(join(filesRoot(stage), uid, 'incoming'))).length;
}

/** Descriptors of the control process for files of volumes. */
function openFiles(stage: Stage): number {
  const [control] = stage.program.children('control');
  const folder = `/proc/${control?.pid ?? 0}/fd`;
  return readdirSync(folder).filter((descriptor) => {
    try {
      return readlinkSync(join(folder, descriptor)).startsWith(filesRoot(stage));
    } catch {
      return false;
    }
  }).length;
}

const unfinishedUploads: Attack = {
  name: 'unfinished-uploads',
  summary: 'many uploads begin and go on byte by byte; then all clients are gone',
  async run(stage, scale) {
    await createVolume(stage, 'unfinished');
    const count = scale === 'full' ? 1_000 : 150;
    const sockets: TLSSocket[] = [];
    const statuses: number[] = [];
    for (let at = 0; at < count; at += 1) {
      const socket = await send(stage, { ...uploadOf(`unfinished/upload/f${at}`, 100 * MIB), body: FILE_HEAD });
      if (socket === null) continue;
      socket.once('data', (head: Buffer) => statuses.push(Number(head.toString('latin1').slice(9, 12))));
      sockets.push(socket);
    }
    const turns = scale === 'full' ? 100 : 5;
    for (let turn = 0; turn < turns; turn += 1) {
      for (const socket of sockets) if (socket.writable) socket.write('x');
      await pause(1_000);
    }
    const accepted = incoming(stage);
    for (const socket of sockets) socket.destroy();
    if (accepted > CALLS_PER_USER) throw new Error(`${accepted} uploads of one user were under way`);
    await until('nothing of them is left', () => incoming(stage) === 0);
    await stage.api(ATTACKER, 'DELETE', '/v3/pods/volumes/unfinished');
    return { connections: sockets.length, 'under way at the end': accepted, refused: statuses.length };
  },
};

const tinyParts: Attack = {
  name: 'tiny-parts',
  summary: 'parallel uploads of forms that consist of tiny parts',
  async run(stage, scale) {
    await createVolume(stage, 'parts');
    const part = `--${BOUNDARY}\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n`;
    const body = part.repeat(Math.floor(MIB / part.length));
    const untilMs = performance.now() + (scale === 'full' ? 15_000 : 4_000);
    let refused = 0;
    const flood = async (): Promise<void> => {
      while (performance.now() < untilMs) {
        const socket = await send(stage, { ...uploadOf('parts/upload/f', body.length), body });
        const status = await statusOf(socket, 30_000);
        socket?.destroy();
        if (status !== 400 && status !== 429) throw new Error(`a form of tiny parts ended with ${status}`);
        refused += 1;
      }
    };
    await Promise.all(Array.from({ length: 16 }, flood));
    await stage.api(ATTACKER, 'DELETE', '/v3/pods/volumes/parts');
    return { refused };
  },
};

const unreadArchives: Attack = {
  name: 'unread-archives',
  summary: 'many archives of the deepest directory there can be are requested and not read; then all clients are gone',
  growthMiB: 150,
  async run(stage, scale) {
    await createVolume(stage, 'archives');
    const deep = Array.from({ length: 60 }, () => 'd').join('%2F');
    await upload(stage, `archives/upload/${deep}%2Ff`, Buffer.alloc(16 * MIB, 120));
    const sockets: TLSSocket[] = [];
    const statuses: Record<string, number> = {};
    for (let at = 0; at < (scale === 'full' ? 300 : 60); at += 1) {
      const socket = await send(stage, { line: 'GET /v3/pods/volumes/archives/contents/d?zip=true' });
      const status = await statusOf(socket, 10_000);
      socket?.pause();
      if (socket !== null) sockets.push(socket);
      statuses[status] = (statuses[status] ?? 0) + 1;
    }
    const held = openFiles(stage);
    await pause(scale === 'full' ? 20_000 : 2_000);
    for (const socket of sockets) socket.destroy();
    if (held > DESCRIPTORS_OF_ARCHIVES) throw new Error(`archives of one user held ${held} descriptors`);
    await until('all files are closed', () => openFiles(stage) === 0);
    await stage.api(ATTACKER, 'DELETE', '/v3/pods/volumes/archives');
    return { statuses: JSON.stringify(statuses), 'descriptors held': held };
  },
};

const largeListings: Attack = {
  name: 'large-listings',
  summary: 'parallel listings and sizes of a directory with very many files',
  async run(stage, scale) {
    await createVolume(stage, 'many');
    await upload(stage, 'many/upload/marker', Buffer.from('x'));
    const uid = readdirSync(filesRoot(stage)).find((each) =>
      readdirSync(join(filesRoot(stage), each, 'data')).includes('marker'),
    );
    const directory = join(filesRoot(stage), uid ?? 'none', 'data/many');
    mkdirSync(directory);
    const count = scale === 'full' ? 300_000 : 15_000;
    for (let at = 0; at < count; at += 1) writeFileSync(join(directory, `file${at}`), '');
    const untilMs = performance.now() + (scale === 'full' ? 20_000 : 5_000);
    let listed = 0;
    const flood = async (): Promise<void> => {
      while (performance.now() < untilMs) {
        const socket = await send(stage, {
          line: 'GET /v3/pods/volumes/many/list?path=many',
          headers: ['Connection: close'],
        });
        if (socket === null) continue;
        // At most until the attack is over.
        const timer = setTimeout(() => socket.destroy(), Math.max(0, untilMs - performance.now()) + 1_000);
        await new Promise((resolve) => socket.resume().once('close', resolve));
        clearTimeout(timer);
        listed += 1;
      }
    };
    await Promise.all(Array.from({ length: CALLS_PER_USER }, flood));
    await until('its directories are closed', () => openFiles(stage) === 0);
    const { status } = await stage.api(ATTACKER, 'DELETE', '/v3/pods/volumes/many');
    return { files: count, listings: listed, 'deleted with': status };
  },
};

const commandsAndStreams: Attack = {
  name: 'commands-and-streams',
  summary: 'a user runs as many commands in pods and opens as many streams of events as it can, and reads none',
  async run(stage, scale) {
    await stage.createPod(ATTACKER, { pod_id: 'shells', pod_template: 'podgate/hello' });
    const body = JSON.stringify({ commands: [['sleep', '60']], command_timeout: 60 });
    const command: Request = {
      line: 'POST /v3/pods/shells/exec',
      headers: ['Content-Type: application/json', `Content-Length: ${body.length}`],
      body,
    };
    const open = async (request: Request, count: number): Promise<readonly TLSSocket[]> => {
      const sockets: TLSSocket[] = [];
      for (let at = 0; at < count; at += 1) {
        const socket = await send(stage, request);
        if (socket !== null) sockets.push(socket);
      }
      return sockets;
    };
    const count = scale === 'full' ? 60 : 20;
    const commands = await open(command, count);
    const streams = await open({ line: 'GET /v3/pods/events' }, 2 * count);
    const answered = await Promise.all([
      Promise.all(commands.map((socket) => statusOf(socket, 4_000))),
      Promise.all(streams.map((socket) => statusOf(socket, 4_000))),
    ]);
    const [running, streaming] = [
      answered[0].filter((status) => status !== 429).length,
      answered[1].filter((status) => status === 200).length,
    ];
    const { status } = await stage.api(OWNER, 'POST', '/v3/pods/hello/exec', { commands: [['true']] });
    for (const socket of [...commands, ...streams]) socket.destroy();
    await stage.deletePods(ATTACKER, 'shells');
    if (running > COMMANDS_PER_USER || streaming > STREAMS_PER_USER)
      throw new Error(`one user ran ${running} commands and had ${streaming} streams`);
    if (status !== 200) throw new Error(`a command of a bystander ended with ${status}`);
    return { 'commands running': running, 'streams open': streaming };
  },
};

const doorFlood: Attack = {
  name: 'door-flood',
  summary:
    'a pod opens thousands of connections to its way out: half a request, names that no server knows, silent targets',
  program: { configuration: { process: { egress: {} } } },
  async run(stage, scale) {
    const count = scale === 'full' ? 9_000 : 1_500;
    await stage.createPod(ATTACKER, { pod_id: 'door', pod_template: 'podgate/process', command: DOOR_FLOOD(count) });
    let log = '';
    await until(
      'the pod has opened them',
      async () => /opened \d+/.test((log = await stage.logsOf(ATTACKER, 'door'))),
      {
        timeoutMs: 60_000,
        everyMs: 500,
      },
    );
    await pause(scale === 'full' ? 20_000 : 3_000);
    await stage.deletePods(ATTACKER, 'door');
    return { opened: Number(/opened (\d+)/.exec(log)?.[1]) };
  },
};

export const OPERATION_ATTACKS: readonly Attack[] = [
  unfinishedUploads,
  tinyParts,
  unreadArchives,
  largeListings,
  commandsAndStreams,
  doorFlood,
];
