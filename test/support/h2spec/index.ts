import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { preparedH2spec } from '../../../scripts/setup/cache.mjs';

/** Why h2spec cannot be run here, or null. */
export function h2specProblem(): string | null {
  return existsSync(preparedH2spec()) ? null : 'h2spec is not built: node scripts/setup.mjs --test';
}

export interface H2specResult {
  readonly passed: readonly string[];
  /** `section: what is done`, in order. */
  readonly failed: readonly string[];
}

/** Runs these sections (all, without) against a server on loopback, over TLS for the name `localhost`. */
export async function runH2spec(
  port: number,
  timeoutS: number,
  sections: readonly string[] = [],
): Promise<H2specResult> {
  const dir = mkdtempSync(join(tmpdir(), 'podgate-h2spec-'));
  const report = join(dir, 'report.xml');
  try {
    const args = ['-t', '-k', '-h', 'localhost', '-p', String(port), '-o', String(timeoutS), '-j', report, ...sections];
    const child = spawn(preparedH2spec(), args, { stdio: 'ignore' });
    await new Promise<void>((resolve, reject) => child.once('error', reject).once('exit', () => resolve()));
    return parseReport(readFileSync(report, 'utf8'));
  } finally {
    rmSync(dir, { recursive: true });
  }
}

function parseReport(xml: string): H2specResult {
  const passed: string[] = [];
  const failed: string[] = [];
  for (const [, section = '', title = '', rest = ''] of xml.matchAll(
    /<testcase package="([^"]*)" classname="([^"]*)"[^>]*>([^]*?)<\/testcase>/g,
  )) {
    const name = `${section}: ${title.replaceAll('&#34;', '"').replaceAll('&#39;', "'")}`;
    if (/<(?:failure|error)\b/.test(rest)) failed.push(name);
    else if (!/<skipped\b/.test(rest)) passed.push(name);
  }
  return { passed, failed };
}
