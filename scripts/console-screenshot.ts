/**
 * Makes docs/console.png, the picture in README.md: one pod's page of a running Podgate.
 *
 *   ./podgate create mypg --template postgres
 *   node scripts/console-screenshot.ts "$(./podgate console)" mypg
 */
import { join } from 'node:path';
import { launch } from 'puppeteer-core';
import { helpIfAsked } from './help.ts';

helpIfAsked(import.meta.filename);

const [link, podId] = process.argv.slice(2);
if (link === undefined || podId === undefined) {
  process.stderr.write('usage: node scripts/console-screenshot.ts "$(./podgate console)" <pod>\n');
  process.exit(2);
}
const browser = await launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox', '--disable-gpu'] });
try {
  const page = await browser.newPage();
  await page.setViewport({ width: 1080, height: 640 });
  await page.goto(link);
  await page.waitForSelector('h1');
  await page.evaluate(`location.hash = '#/pods/${encodeURIComponent(podId)}'`);
  await page.waitForSelector('[role=log]');
  await page.waitForFunction(`!document.querySelector('[role=log]').textContent.startsWith('Nothing yet')`);
  await page.screenshot({ path: join(import.meta.dirname, '../docs/console.png') });
} finally {
  await browser.close();
}
