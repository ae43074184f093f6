import { get, podPath } from '/console/api.js';
import { localTime } from '/console/format.js';
import { statusHistory } from '/console/history.js';
import { html, statusText, toneOf, useLive } from '/console/ui.js';

const HOURS = 24;
const SPAN_MS = HOURS * 3_600_000;
/** Statuses pass within minutes; what stays the same only moves to the left. */
const EVERY_MS = 60_000;
const CHANGES_SHOWN = 100;

const textOf = (status) => (status === null ? 'Not known' : statusText(status));
const share = (span, fromMs) => `${(100 * (span.toMs - Math.max(span.fromMs, fromMs))) / SPAN_MS}%`;

/** The statuses of the last 24 hours, and why each began: from the log of actions. */
export function Ribbon({ podId, status }) {
  const { value } = useLive(
    async () => {
      const { action_logs: lines } = await get(podPath(podId, '/logs?tail_bytes=1'));
      const toMs = Date.now();
      return { toMs, spans: statusHistory(lines, { fromMs: toMs - SPAN_MS, toMs, now: status }) };
    },
    EVERY_MS,
    [podId, status],
  );
  // Its place stays as large as it will be.
  if (value === null) return html`<div class="ribbon" aria-hidden="true"></div>`;
  const { spans, toMs } = value;
  const fromMs = toMs - SPAN_MS;
  const began = spans[0].fromMs - fromMs;
  const runs = spans
    .filter((span) => span.status === 'RUNNING')
    .reduce((sum, span) => sum + span.toMs - span.fromMs, 0);
  const existed = Math.max(1, toMs - spans[0].fromMs);
  const summary = `In the last 24 hours, running ${Math.round((100 * runs) / existed)} % of the time; ${spans.length - 1} changes of status.`;
  const newest = spans.toReversed().slice(0, CHANGES_SHOWN);
  return html`<div class="ribbon" role="img" aria-label=${summary}>
      <i style=${{ width: `${(100 * began) / SPAN_MS}%` }}></i>
      ${spans.map(
        (span) =>
          html`<i
            class=${span.status === null ? '' : toneOf(span.status)}
            style=${{ width: share(span, fromMs) }}
            title=${`${textOf(span.status)} from ${localTime(span.fromMs)}${span.reason === '' ? '' : `: ${span.reason}`}`}
          ></i>`,
      )}
    </div>
    <div class="ends minor" aria-hidden="true"><span>24 hours ago</span><span>now</span></div>
    <details class="history">
      <summary>History</summary>
      <ol>
        ${newest.map(
          (span) =>
            html`<li>
              <time datetime=${new Date(span.fromMs).toISOString()}>${localTime(span.fromMs)}</time>
              <span class="status ${span.status === null ? 'off' : toneOf(span.status)}"
                ><i aria-hidden="true"></i>${textOf(span.status)}</span
              >
              <span class="minor">${span.reason}</span>
            </li>`,
        )}
      </ol>
    </details>`;
}
