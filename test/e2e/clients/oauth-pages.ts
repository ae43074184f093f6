import type { Page } from 'puppeteer-core';

/** At the pages of the OAuth server (test/support/oauth-server.ts), to which a page has been sent. */
export async function logIn(page: Page, user: string): Promise<void> {
  await page.waitForSelector('input[name=login]');
  await page.type('input[name=login]', user);
  await page.type('input[name=password]', 'any');
  await Promise.all([page.waitForNavigation(), page.click('button[type=submit]')]);
  await Promise.all([page.waitForNavigation(), page.click('button[type=submit]')]);
}
