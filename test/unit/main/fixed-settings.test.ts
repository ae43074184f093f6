import { expect, test } from 'vitest';
import { loadConfig } from '../../../config/load-config.ts';
import { fixedSettings } from '../../../main/supervisor/next-settings.ts';

const load = (env: NodeJS.ProcessEnv) => loadConfig({ PODGATE_WORKERS: '2', ...env }, '/srv');
const current = load({ PODGATE_HTTPS_PORT: '9443' });

test('a restart applies every setting that does not affect sockets, directory or workers', () => {
  expect(fixedSettings(current, { ...current, drain: { ...current.drain, sessionsMs: 5 } })).toEqual([]);
  expect(fixedSettings(current, load({ PODGATE_HTTPS_PORT: '0', PODGATE_PUBLIC_HTTPS_PORT: '443' }))).toEqual([]);
});

test('it names the settings that it cannot apply', () => {
  const next = load({ PODGATE_HTTPS_PORT: '9444', PODGATE_WORKERS: '3', PODGATE_DATA_DIR: 'elsewhere' });
  expect(fixedSettings(current, next)).toEqual(['PODGATE_HTTPS_PORT', 'PODGATE_DATA_DIR', 'PODGATE_WORKERS']);
});

test('ports of listeners are fixed at the start', () => {
  const next = { ...current, listeners: [{ port: 5432 }] };
  expect(fixedSettings(current, next)).toEqual(['PODGATE_CONFIG listeners']);
});
