import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ConsolePage } from '../support/console-page.ts';
import { until } from '../support/until.ts';

/** Volumes and files in the console, in Chromium. */
const COMMAND = [
  'sh',
  '-c',
  'mkdir -p notes; echo hello >notes/greeting; exec python3 -m http.server --bind 127.0.0.1 $PORT',
];
let shown: ConsolePage;
let downloads: string;

beforeAll(async () => {
  shown = await ConsolePage.start();
  downloads = join(shown.directory, 'downloads');
  mkdirSync(downloads);
  await shown.page.goto(await shown.loginLink());
  await shown.see('No pods yet');
  const devtools = await shown.page.createCDPSession();
  await devtools.send('Browser.setDownloadBehavior', { behavior: 'allow', downloadPath: downloads });
}, 120_000);
afterAll(() => shown.dispose());

async function uploadFile(name: string, text: string): Promise<void> {
  const path = join(shown.directory, name);
  writeFileSync(path, text);
  // It is away while a file is being sent.
  const button = await shown.page.waitForSelector('::-p-aria([name="Upload"][role="button"])');
  const [chooser] = await Promise.all([shown.page.waitForFileChooser(), button?.click()]);
  await chooser.accept([path]);
}
const downloaded = (name: string): Promise<string> =>
  until(`${name} is downloaded`, () => {
    try {
      return readFileSync(join(downloads, name), 'utf8');
    } catch {
      return null;
    }
  });
const names = (): Promise<unknown> =>
  shown.page.evaluate(
    `[...document.querySelectorAll('.files th[scope=row]')].map(({ textContent }) => textContent.trim()).join()`,
  );
const press = async (label: string): Promise<void> => {
  await (await shown.page.waitForSelector(`[aria-label="${label}"]`))?.click();
};

test('a volume is created, gets a file and a newer version, and the file can be downloaded', async () => {
  await shown.page.goto(`${shown.origin}/#/volumes`);
  await shown.see('No volumes yet');
  await shown.page.type('input[placeholder="Name of a new volume"]', 'mydata');
  await shown.clickButton('Create volume');
  await shown.page.waitForSelector('a[href="#/volumes/mydata"]');
  expect(await shown.seriousProblems()).toEqual([]);
  await shown.photograph('volumes');
  await shown.page.click('a[href="#/volumes/mydata"]');
  await shown.see('This directory is empty.');
  await uploadFile('report 1.csv', 'a,b\n');
  await shown.see('4 B');
  await uploadFile('report 1.csv', 'a,b,c\n');
  await shown.see('report 1.csv already exists here.');
  await shown.clickButton('Replace');
  await shown.see('6 B');
  await press('Download report 1.csv');
  expect(await downloaded('report 1.csv')).toBe('a,b,c\n');
  expect(shown.complaints).toEqual([]);
}, 120_000);

test('a file of a volume is deleted after a confirmation', async () => {
  await uploadFile('wrong.csv', 'x');
  await press('Delete wrong.csv');
  await shown.see('/wrong.csv is deleted. This cannot be undone.');
  await shown.clickButton('Delete file');
  await until('it is gone', async () => (await names()) === 'report 1.csv');
  expect(shown.complaints).toEqual([]);
}, 120_000);

test('directories of a volume can be browsed, and downloaded as a ZIP', async () => {
  const form = new FormData();
  form.append('file', new Blob(['deep']), 'x');
  const token = shown.program.token;
  const to = `${shown.origin}/v3/pods/volumes/mydata/upload/2026%2Fmay%20%231%2Ffile.txt`;
  expect((await fetch(to, { method: 'POST', body: form, headers: { 'X-Tapis-Token': token } })).status).toBe(200);
  await shown.page.reload();
  await shown.see('2026/');
  await press('Download 2026 as ZIP');
  expect((await downloaded('2026.zip')).slice(0, 2)).toBe('PK');
  await shown.clickButton('2026/');
  await shown.see('may #1/');
  await shown.clickButton('may #1/');
  await shown.see('file.txt');
  expect(await shown.seriousProblems()).toEqual([]);
  await shown.photograph('volume');
  await shown.clickButton('mydata');
  await shown.see('report 1.csv');
  expect(shown.complaints).toEqual([]);
}, 120_000);

test('a pod shows its mounts and its own files, which can be uploaded and deleted', async () => {
  const body = {
    ...{ pod_id: 'mypod', pod_template: 'podgate/process', command: COMMAND },
    volume_mounts: { '/data': { type: 'tapisvolume', source_id: 'mydata', sub_path: '2026' } },
  };
  const created = await shown.program.api('POST', '/v3/pods?wait=routable', body);
  expect(created.status, JSON.stringify(created.body)).toBe(200);
  await shown.page.goto(`${shown.origin}/#/pods/mypod`);
  await shown.page.waitForSelector('a[href="#/volumes/mydata/2026"]');
  await shown.clickButton('Browse files');
  await shown.see('notes/');
  await shown.clickButton('notes/');
  await shown.see('greeting');
  await uploadFile('later', 'from the page');
  await shown.see('later');
  await press('Download later');
  expect(await downloaded('later')).toBe('from the page');
  expect(await shown.seriousProblems()).toEqual([]);
  await shown.photograph('files');
  await press('Delete greeting');
  await shown.see('This cannot be undone.');
  await shown.clickButton('Delete file');
  await until('it is gone', async () => (await names()) === 'later');
  expect(shown.complaints).toEqual([]);
}, 120_000);

test('a volume that a pod mounts is not deleted, with the reason', async () => {
  await shown.page.goto(`${shown.origin}/#/volumes/mydata`);
  await shown.see('report 1.csv');
  await shown.clickButton('Delete');
  await shown.clickButton('Delete mydata');
  await shown.see('mypod');
  await shown.clickButton('Cancel');
  // The browser writes the status 409 to its log.
  expect(shown.complaints.splice(0)).toHaveLength(1);
});

test("a snapshot of a pod's data says what it is good for, shows no files, and is deleted after a confirmation", async () => {
  const api = async (path: string, body: object): Promise<void> => {
    const { status, body: answer } = await shown.program.api('POST', path, body);
    expect(status, JSON.stringify(answer)).toBe(200);
  };
  await api('/v3/pods?wait=routable', { pod_id: 'mypg', pod_template: 'postgres' });
  await api('/v3/pods/snapshots', { snapshot_id: 'monday', source_pod_id: 'mypg', size_limit: 1_024 });
  await shown.page.goto(`${shown.origin}/#/volumes`);
  await shown.see('the data of pod mypg');
  expect(await shown.seriousProblems()).toEqual([]);
  await shown.photograph('volumes-with-snapshot');
  await shown.page.click('a[href="#/snapshots/monday"]');
  await shown.see('A copy of the data of pod mypg. Clone it: ./podgate clone mypg NEW_POD --snapshot monday');
  await shown.see('Permissions');
  expect(await shown.text()).toMatch(/monday\nSnapshot\n[\d.]+ [KM]iB of 1\.0 GiB/);
  // The files of a database are for clones alone: nothing is offered that the API would refuse.
  expect(await shown.page.$('#files')).toBeNull();
  expect(await shown.text()).not.toMatch(/Browse files|Download|Upload/);
  expect(await shown.seriousProblems()).toEqual([]);
  await shown.photograph('data-snapshot');
  await shown.clickButton('Delete');
  await shown.see('The snapshot is deleted with all its files. This cannot be undone.');
  await shown.clickButton('Delete monday');
  await until('it is gone', async () => !(await shown.text()).includes('the data of pod mypg'));
  expect((await shown.program.get('/v3/pods/snapshots/monday')).status).toBe(404);
  expect(shown.complaints).toEqual([]);
}, 120_000);

test('with READ, files are listed, and no actions are offered', async () => {
  await shown.program.api('POST', '/v3/pods/volumes/mydata/permissions', { user: 'bob', level: 'READ' });
  await shown.logIn('bob');
  await shown.page.goto(`${shown.origin}/#/volumes/mydata`);
  await shown.see('report 1.csv');
  const text = await shown.text();
  for (const absent of ['Upload', 'Download', 'Delete', 'Permissions\n\n']) expect(text).not.toContain(absent);
});
