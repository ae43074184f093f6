import { afterAll, beforeAll, expect, test } from 'vitest';
import { ConsolePage } from '../support/console-page.ts';
import { until } from '../support/until.ts';

/** Terminals in the console, in Chromium: what is typed there reaches a pod, and nothing of it is against the CSP. */
let shown: ConsolePage;

beforeAll(async () => {
  shown = await ConsolePage.start();
  const command = ['sh', '-c', 'exec python3 -m http.server --bind 127.0.0.1 $PORT'];
  const body = { pod_id: 'mypod', pod_template: 'podgate/process', command };
  expect((await shown.program.api('POST', '/v3/pods?wait=routable', body)).status).toBe(200);
  await shown.page.goto(await shown.loginLink());
  await shown.see('mypod');
}, 120_000);
afterAll(() => shown.dispose());

const screenText = async (): Promise<string> =>
  String(await shown.page.evaluate(`document.querySelector('.xterm-rows')?.innerText ?? ''`));
const seeOnScreen = (text: string) =>
  until(`the terminal shows ${text}`, async () => (await screenText()).includes(text), { timeoutMs: 30_000 }).catch(
    async (error: unknown) => {
      throw new Error(`${String(error)}: ${await screenText()}; ${shown.complaints.join('\n')}`);
    },
  );
const type = async (text: string): Promise<void> => {
  await shown.page.keyboard.type(text);
  await shown.page.keyboard.press('Enter');
};

test('a terminal is loaded when it is opened, and typed text runs in the pod', async () => {
  const loaded: string[] = [];
  shown.page.on('request', (request) => loaded.push(request.url()));
  await shown.page.goto(`${shown.origin}/#/pods/mypod`);
  await shown.see('Open terminal');
  expect(loaded.filter((url) => url.includes('xterm'))).toEqual([]);
  await shown.clickButton('Open terminal');
  await shown.see('The terminal is open.');
  await type('printf "%s+%s\\n" said here');
  await seeOnScreen('said+here');
  // Colors of 24 bits are attributes in xterm.js, which the CSP refuses.
  await type(`printf '\\033[38;2;1;200;3mgreen\\033[0m-\\033[1;31mred\\033[0m\\n'`);
  await seeOnScreen('green-red');
  const colors = await shown.page.evaluate(`[...document.querySelectorAll('.xterm-rows span')]
    .filter((span) => span.textContent === 'green' || span.textContent === 'red').map((span) => getComputedStyle(span).color)`);
  expect(new Set(colors as string[]).size).toBe(2);
  expect(await shown.seriousProblems()).toEqual([]);
  await shown.photograph('terminal');
  // It has the size of the window.
  const columns = async () => {
    await type('clear; echo columns=$(tput cols 2>/dev/null || stty size | cut -d" " -f2).');
    return await until('the size is shown', async () => /columns=(\d+)\./.exec(await screenText())?.[1] ?? null);
  };
  const wide = Number(await columns());
  await shown.page.setViewport({ width: 500, height: 800 });
  await until('it is smaller', async () => Number(await columns()) < wide, { timeoutMs: 20_000 });
  await shown.page.setViewport({ width: 1280, height: 800 });
  expect(shown.complaints).toEqual([]);
}, 120_000);

test('the keyboard can leave it, and the end of a command is shown', async () => {
  await shown.page.keyboard.down('Control');
  await shown.page.keyboard.down('Shift');
  await shown.page.keyboard.press('Enter');
  await shown.page.keyboard.up('Shift');
  await shown.page.keyboard.up('Control');
  expect(await shown.page.evaluate('document.activeElement.textContent.trim()')).toBe('Close terminal');
  await shown.page.focus('.xterm-helper-textarea');
  await type('exit 3');
  await shown.see('The command ended with exit code 3.');
  await shown.see('Open terminal');
  expect(shown.complaints).toEqual([]);
});

test('a pod that prints more than a page can draw is paused, and an interrupt still arrives', async () => {
  const sent = new Set<string>();
  const devtools = await shown.page.createCDPSession();
  devtools.on('Network.webSocketFrameSent', ({ response }) => sent.add(response.payloadData));
  await devtools.send('Network.enable');
  await shown.clickButton('Open terminal');
  await shown.see('The terminal is open.');
  // On a busy machine the pod may print so slowly that a page at full speed keeps up.
  await devtools.send('Emulation.setCPUThrottlingRate', { rate: 4 });
  await type('yes 0123456789012345678901234567890123456789');
  await until(
    'it was asked to wait, and to go on',
    () => sent.has('{"type":"pause"}') && sent.has('{"type":"resume"}'),
    {
      timeoutMs: 60_000,
    },
  );
  await devtools.send('Emulation.setCPUThrottlingRate', { rate: 1 });
  await shown.page.keyboard.down('Control');
  await shown.page.keyboard.press('c');
  await shown.page.keyboard.up('Control');
  await type('printf "%s+%s\\n" still here');
  await seeOnScreen('still+here');
  expect(shown.complaints).toEqual([]);
}, 120_000);

test('for screen readers, new output is available as text', async () => {
  await shown.page.evaluate(`document.querySelector('.bar input[type=checkbox]:not(:checked)').click()`);
  await shown.page.waitForSelector('.xterm-accessibility');
  expect(await shown.seriousProblems()).toEqual([]);
  expect(shown.complaints).toEqual([]);
});

test('without ADMIN on the pod there is no terminal', async () => {
  await shown.program.api('POST', '/v3/pods/mypod/permissions', { user: 'bob', level: 'USER' });
  await shown.logIn('bob');
  await shown.page.goto(`${shown.origin}/#/pods/mypod`);
  await shown.see('Permissions');
  expect(await shown.text()).not.toContain('Open terminal');
  expect(shown.complaints).toEqual([]);
});
