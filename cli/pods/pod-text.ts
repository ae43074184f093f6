import { httpsUrl } from '../../core/https-url.ts';
import { asTyped } from '../called-as.ts';
import { shortDuration } from '../duration.ts';
import { statusStyle } from '../output/style.ts';
import { type Cell, formatTable } from '../output/table.ts';
import type { Pod, PodMetrics, Stanza } from './pod.ts';

const MIB = 1024 * 1024;

/** Pods as a table for people. */
export function podTable(pods: readonly Pod[], nowMs: number): string {
  const rows = pods
    .toSorted((a, b) => (a.pod_id < b.pod_id ? -1 : 1))
    .map((pod): (string | Cell)[] => [
      pod.pod_id,
      { text: pod.status, style: statusStyle(pod.status) },
      pod.pod_template,
      firstAddress(pod),
      pod.start_instance_ts === null ? '' : shortDuration(nowMs - Date.parse(pod.start_instance_ts)),
    ]);
  return formatTable(['POD', 'STATUS', 'TEMPLATE', 'ADDRESS', 'UP'], rows);
}

function firstAddress({ networking }: Pod): string {
  const [stanza] = Object.values(networking).filter(({ url }) => url !== '');
  return stanza === undefined ? '' : addressText(stanza);
}

/** What a client is given: a URL for HTTP, host and port otherwise. */
export function addressText({ protocol, url, public_port: port }: Stanza): string {
  if (protocol !== 'http') return `${url}:${port}`;
  return `${httpsUrl(url, port)}/`;
}

/** Millicores as cores: "0.25". */
function cores(millis: number): string {
  return String(Math.round(millis / 10) / 100);
}

/** Everything about one pod, as lines of a name and a value. */
export function podText(pod: Pod, metrics: PodMetrics | null): string {
  const { status_container: container, resources } = pod;
  const { memory_bytes: bytes, cpu_millis: millis, note = '' } = metrics ?? { memory_bytes: null, cpu_millis: null };
  const lines: readonly (readonly [string, string])[] = [
    ['pod', pod.pod_id],
    ['status', `${pod.status}${isAsRequested(pod) ? '' : ` (requested: ${pod.status_requested})`}`],
    ['reason', pod.status === 'ERROR' ? asTyped(container.message ?? '') : ''],
    ['restarts', (container.restarts ?? 0) > 0 ? String(container.restarts) : ''],
    ['memory', bytes === null ? note : `${Math.round(bytes / MIB)} of ${resources.mem_limit} MiB`],
    ['cpu', millis === null ? '' : `${cores(millis)} of ${cores(resources.cpu_limit)} cores`],
    ['template', pod.pod_template],
    ['description', pod.description],
    ['created', pod.creation_ts],
    ['started', pod.start_instance_ts ?? ''],
    ['stops', pod.time_to_stop_ts ?? ''],
    ['sleep', sleepText(pod)],
    ['last used', pod.last_used_ts ?? ''],
    ['awake', pod.awake_because?.join(', ') ?? ''],
    ...Object.entries(pod.networking).map(([name, stanza]) => [name, stanzaText(stanza)] as const),
    ...pod.action_logs.slice(-5).map((line, at) => [at === 0 ? 'last actions' : '', line] as const),
  ];
  const width = Math.max(...lines.map(([name]) => name.length));
  return lines
    .filter(([, value]) => value !== '')
    .map(([name, value]) => `${name.padEnd(width)}  ${value.replaceAll(/\p{Cc}+/gu, ' ')}\n`)
    .join('');
}

function sleepText({ sleep, asleep_since: since }: Pod): string {
  if (since !== undefined && since !== null) return `since ${since}; a client that connects wakes it`;
  return sleep === undefined || sleep === null ? '' : `after ${shortDuration(sleep.after_seconds * 1000)} without use`;
}

function isAsRequested({ status, status_requested: wish }: Pod): boolean {
  if (wish === 'OFF') return status === 'STOPPED';
  return wish === 'ON' && status !== 'STOPPED' && status !== 'SHUTTING_DOWN';
}

function stanzaText(stanza: Stanza): string {
  if (stanza.url === '') return `port ${stanza.port}, not reached through the gateway`;
  const from = stanza.ip_allow_list.length === 0 ? '' : `, from ${stanza.ip_allow_list.join(', ')} only`;
  const { tapis_auth: isClosed, tapis_auth_allowed_users: users = ['AUTHORIZED_USERS'] } = stanza;
  const login = isClosed === true ? `, after a login of ${users.join(', ')}` : '';
  return `${addressText(stanza)} (${stanza.protocol} ${stanza.port}${from}${login})`;
}
