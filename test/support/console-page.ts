import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Browser, type HTTPRequest, launch, type Page } from 'puppeteer-core';
import { expect } from 'vitest';
import { podgateCommand } from './podgate-command.ts';
import { Program } from './program.ts';
import { until } from './until.ts';

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const WIDTHS = [390, 820, 1280] as const;
const DEADLINE_MS = 30_000;

/** Without a page, no browser is left. */
export async function openChromium(
  directory: string,
  executablePath = '/usr/bin/chromium',
): Promise<{ readonly browser: Browser; readonly page: Page }> {
  const browser = await launch({
    executablePath,
    args: ['--no-sandbox', '--disable-gpu', `--user-data-dir=${directory}/profile`],
  });
  try {
    return { browser, page: await browser.newPage() };
  } catch (error) {
    await browser.close();
    throw error;
  }
}

/** The console of a program of its own, in Chromium. */
export class ConsolePage {
  readonly program: Program;
  readonly browser: Browser;
  readonly page: Page;
  /** What the browser complained about: errors and warnings in its log, CSP violations and failed requests among them. */
  readonly complaints: string[] = [];
  readonly directory: string;
  readonly #pending = new Set<HTTPRequest>();
  /** Kept where TEST_ARTIFACTS names a folder. */
  readonly #screenshots: string;

  private constructor(program: Program, browser: Browser, page: Page, directory: string) {
    this.program = program;
    this.browser = browser;
    this.page = page;
    this.directory = directory;
    this.#screenshots = process.env['TEST_ARTIFACTS'] ?? join(directory, 'screenshots');
    mkdirSync(this.#screenshots, { recursive: true });
    page.setDefaultTimeout(DEADLINE_MS);
    page.on('request', (request) => this.#pending.add(request));
    for (const end of ['requestfinished', 'requestfailed'] as const) {
      page.on(end, (request) => this.#pending.delete(request));
    }
    page.on('pageerror', (error) => this.complaints.push(String(error)));
    page.on('console', (message) => {
      if (message.type() === 'error' || message.type() === 'warn') this.complaints.push(message.text());
    });
  }

  static async start(): Promise<ConsolePage> {
    const directory = mkdtempSync(join(tmpdir(), 'podgate-console-'));
    const program = await Program.start({ workers: 1 });
    try {
      const { browser, page } = await openChromium(directory);
      return new ConsolePage(program, browser, page, directory);
    } catch (error) {
      await program.dispose();
      rmSync(directory, { recursive: true, force: true });
      throw error;
    }
  }

  async dispose(): Promise<void> {
    await this.browser.close();
    await this.program.dispose();
    rmSync(this.directory, { recursive: true, force: true });
  }

  get origin(): string {
    return `http://127.0.0.1:${this.program.controlPort}`;
  }

  async loginLink(): Promise<string> {
    const { stdout } = await podgateCommand(this.program, ['console']);
    return stdout.trim();
  }

  /** As another user than the administrator of the login link, in place of whoever is logged in. */
  async logIn(user: string): Promise<void> {
    const made = await podgateCommand(this.program, ['token', '--user', user]);
    expect(made).toMatchObject({ code: 0, stdout: expect.stringMatching(/^ey/) as string });
    await this.clickButton('Log out');
    await this.page.waitForSelector('#token');
    // As if pasted: hundreds of keys would be an event each.
    await this.page.evaluate(`(() => {
      const field = document.querySelector('#token');
      field.value = ${JSON.stringify(made.stdout.trim())};
      field.dispatchEvent(new Event('input', { bubbles: true }));
    })()`);
    // The page draws again before it is sent.
    await this.page.waitForFunction(`document.querySelector('#token').value !== ''`);
    await this.clickButton('Log in');
    await this.see('Log out');
  }

  /** The program is compiled without the types of a page. */
  async text(): Promise<string> {
    return String(await this.page.evaluate('document.body.innerText'));
  }

  see(text: string | RegExp): Promise<string> {
    const look = async (): Promise<string | null> => {
      const seen = await this.text();
      if (typeof text !== 'string') return text.exec(seen)?.[0] ?? null;
      return seen.includes(text) ? text : null;
    };
    return until(`the page shows ${String(text)}`, look, { timeoutMs: DEADLINE_MS }).catch(async (error: unknown) => {
      const pending = Array.from(this.#pending, (request) => `${request.method()} ${request.url()}`);
      const seen = [await this.text(), ...this.complaints, ...pending];
      throw new Error([String(error), ...seen].join('\n'));
    });
  }

  async clickButton(label: string): Promise<void> {
    const click = `(() => {
      const found = [...document.querySelectorAll('button')].find((button) => button.textContent.trim() === '${label}');
      found?.click();
      return found !== undefined;
    })()`;
    await until(`there is a button ${label}`, () => this.page.evaluate(click) as Promise<boolean>);
  }

  /** What axe-core finds that keeps people out. */
  async seriousProblems(): Promise<readonly unknown[]> {
    await this.page.evaluate(AXE);
    return (await this.page.evaluate(`axe.run().then(({ violations }) => violations
      .filter(({ impact }) => impact === 'serious' || impact === 'critical')
      .map(({ id, nodes }) => ({ id, nodes: nodes.map(({ html }) => html.slice(0, 200)) })))`)) as readonly unknown[];
  }

  /** At the widths of a phone, a tablet and a desktop, on none of which the page may scroll sideways. */
  async photograph(name: string): Promise<void> {
    for (const width of WIDTHS) {
      await this.page.setViewport({ width, height: 800 });
      const fits = await this.page.evaluate('document.documentElement.scrollWidth <= innerWidth');
      expect(fits, `${name} at ${width}`).toBe(true);
      await this.page.screenshot({ path: join(this.#screenshots, `${name}-${width}.png`) });
    }
  }
}
