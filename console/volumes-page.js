import { call, get } from '/console/api.js';
import { Files, filesOf } from '/console/files.js';
import { ago, localTime, memory } from '/console/format.js';
import { useLevel } from '/console/level.js';
import { Permissions } from '/console/permissions.js';
import { Confirm, html, Problem, useLive, useMemo, useState, Waiting } from '/console/ui.js';

const EVERY_MS = 15_000;
const PAGE_SIZE = 200;

/** All pages of a list. */
async function listAll(path) {
  const all = [];
  for (let cursor = ''; cursor !== null;) {
    const query = cursor === '' ? '' : `&cursor=${encodeURIComponent(cursor)}`;
    const { result, metadata } = await call('GET', `${path}?limit=${PAGE_SIZE}${query}`);
    all.push(...result);
    cursor = metadata.next_cursor ?? null;
  }
  return all;
}

const usageText = ({ size, size_limit: limit }) =>
  size === undefined ? `up to ${memory(limit)}` : `${memory(size)} of ${memory(limit)}`;

/** What a snapshot is a copy of. */
const sourceOf = ({ source_pod_id: pod, source_volume_id: volume, source_volume_path: path }) =>
  pod === '' ? `${volume}${path}` : `the data of pod ${pod}`;

/** Those of a database are for clones alone. */
const hasShownFiles = ({ source_pod_id: pod = '' }) => pod === '';

export function VolumesPage() {
  const [version, setVersion] = useState(0);
  const { value, problem } = useLive(
    async () => ({ volumes: await listAll('/v3/pods/volumes'), snapshots: await listAll('/v3/pods/snapshots') }),
    EVERY_MS,
    [version],
  );
  return html`<div class="head"><h1>Volumes</h1></div>
    <${NewVolume} onDone=${() => setVersion(version + 1)} />
    <${Problem} text=${problem} />
    ${value === null && problem === null && html`<${Waiting} />`}
    ${
      value !== null &&
      html`<${List}
          noun="volume"
          label="Volumes"
          empty="No volumes yet. A volume keeps files apart from pods, and several pods can mount it."
          records=${value.volumes}
        />
        ${
          value.snapshots.length > 0 &&
          html`<section aria-labelledby="snapshots">
            <h2 id="snapshots">Snapshots</h2>
            <${List} noun="snapshot" label="Snapshots" empty="" records=${value.snapshots} />
          </section>`
        }`
    }`;
}

function List({ noun, label, empty, records }) {
  if (records.length === 0) return html`<p class="empty">${empty}</p>`;
  return html`<div class="scroll" tabindex="0" role="region" aria-label=${label}>
    <table>
      <thead>
        <tr>
          <th>Name</th>
          <th>Size</th>
          <th>${noun === 'snapshot' ? 'Copy of' : 'Description'}</th>
          <th>Changed</th>
        </tr>
      </thead>
      <tbody>
        ${records.map((record) => {
          const id = record[`${noun}_id`];
          return html`<tr key=${id}>
            <th scope="row"><a href="#/${noun}s/${id}">${id}</a></th>
            <td>${record.status === 'AVAILABLE' ? usageText(record) : record.status.toLowerCase()}</td>
            <td class="minor">${noun === 'snapshot' ? sourceOf(record) : record.description}</td>
            <td class="minor" title=${localTime(record.update_ts)}>${ago(record.update_ts)}</td>
          </tr>`;
        })}
      </tbody>
    </table>
  </div>`;
}

function NewVolume({ onDone }) {
  const [id, setId] = useState('');
  const [problem, setProblem] = useState(null);
  const create = async (event) => {
    event.preventDefault();
    try {
      await call('POST', '/v3/pods/volumes', { volume_id: id });
      setId('');
      setProblem(null);
      onDone();
    } catch (error) {
      setProblem(error.message);
    }
  };
  return html`<form class="bar" onSubmit=${create}>
      <label class="inline"
        ><span class="hidden">Name of the new volume</span
        ><input
          required
          placeholder="Name of a new volume"
          autocomplete="off"
          spellcheck="false"
          value=${id}
          onInput=${(event) => setId(event.target.value.trim())}
      /></label>
      <button type="submit">Create volume</button>
    </form>
    <${Problem} text=${problem} onClose=${() => setProblem(null)} />`;
}

/** `noun`: volume or snapshot. `place`: its name, and behind a slash the directory that is shown. */
export function VolumePage({ noun, place, session }) {
  const [id, ...names] = place.split('/');
  const path = `/${names.join('/')}`;
  const under = `/v3/pods/${noun}s/${encodeURIComponent(id)}`;
  const may = useLevel(under, session);
  const source = useMemo(() => filesOf(noun, id), [noun, id]);
  const [isDeleting, setDeleting] = useState(false);
  const { value: record, problem } = useLive(() => get(under), EVERY_MS, [under]);
  const go = (to) => {
    location.hash = `#/${noun}s/${id}${to === '/' ? '' : to.split('/').map(encodeURIComponent).join('/')}`;
  };
  const remove = async () => {
    await call('DELETE', under);
    location.hash = '#/volumes';
  };
  return html`<p class="crumb"><a href="#/volumes">Volumes</a></p>
    <div class="head">
      <h1>${id}</h1>
      ${noun === 'snapshot' && html`<span class="minor">Snapshot</span>`}
      ${record !== null && html`<span class="minor">${usageText(record)}</span>`}
      <span class="space"></span>
      ${may('ADMIN') && html`<button type="button" class="danger" onClick=${() => setDeleting(true)}>Delete</button>`}
    </div>
    ${record !== null && record.description !== '' && html`<p class="description">${record.description}</p>`}
    <${Problem} text=${problem} />
    ${record === null && problem === null && html`<${Waiting} />`}
    ${
      isDeleting &&
      html`<${Confirm}
        title="Delete ${id}?"
        text="The ${noun} is deleted with all its files. This cannot be undone."
        label="Delete ${id}"
        act=${remove}
        onClose=${() => setDeleting(false)}
      />`
    }
    ${
      record !== null &&
      html`${
        hasShownFiles(record)
          ? html`<section aria-labelledby="files">
              <h2 id="files">Files</h2>
              <${Files}
                source=${source}
                path=${path}
                go=${go}
                label=${id}
                mayRead=${may('USER')}
                mayWrite=${noun === 'volume' && may('USER')}
              />
            </section>`
          : html`<p class="minor">
              A copy of ${sourceOf(record)}. Clone it:${' '}
              <code>./podgate clone ${record.source_pod_id} NEW_POD --snapshot ${id}</code>
            </p>`
      }
      ${
        may('USER') &&
        html`<section aria-labelledby="permissions">
          <h2 id="permissions">Permissions</h2>
          <${Permissions} path=${`${under}/permissions`} />
        </section>`
      }`
    }`;
}
