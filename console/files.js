import { call, download, get, podPath, upload } from '/console/api.js';
import { ago, bytes, localTime, number } from '/console/format.js';
import { refresher } from '/console/live.js';
import { Action, Confirm, html, Problem, useEffect, useMemo, useRef, useState, Waiting } from '/console/ui.js';

/** More would make the page slow: filter first. */
const ROWS_SHOWN = 500;
const DIRECTORY_FIRST = { dir: 0, symbolic_link: 1, file: 2, other: 3 };

const joined = (directory, name) => `${directory.replace(/\/$/, '')}/${name}`;
const parentOf = (path) => path.replace(/\/[^/]*$/, '') || '/';

/** Files of a volume or a snapshot; `noun` is which. Paths begin at its root. */
export function filesOf(noun, id) {
  const under = `/v3/pods/${noun}s/${encodeURIComponent(id)}`;
  const below = (path) => encodeURIComponent(path.slice(1));
  return {
    root: '/',
    list: (path) => get(`${under}/list?path=${encodeURIComponent(path)}`),
    download: (path, name) => download(`${under}/download/${below(path)}`, name),
    ...(noun === 'volume' && { remove: (path) => call('DELETE', `${under}/files?path=${encodeURIComponent(path)}`) }),
    zip: (path, name) => download(`${under}/contents/${below(path)}?zip=true`, `${name}.zip`),
    upload: (directory, file, options) => {
      const form = new FormData();
      form.append('file', file);
      return upload(`${under}/upload/${below(joined(directory, file.name))}`, form, options);
    },
  };
}

/** Files of a running pod, as the pod itself sees them. */
export function filesOfPod(podId) {
  return {
    // Its working directory, whose path its entries tell.
    root: '.',
    list: (path) => get(podPath(podId, `/list_files?path=${encodeURIComponent(path)}`)),
    download: (path, name) => download(podPath(podId, `/download_from_pod?path=${encodeURIComponent(path)}`), name),
    upload: (directory, file, options) => {
      const form = new FormData();
      form.append('dest_path', joined(directory, file.name));
      form.append('file', file);
      return upload(podPath(podId, '/upload_to_pod'), form, options);
    },
    remove: async (path) => {
      const { result } = await call('POST', podPath(podId, '/exec'), { commands: [['rm', '--', path]] });
      const [{ success, stderr, reason }] = result.execution_results;
      if (!success) throw new Error(stderr.trim() || reason || 'The file was not deleted.');
    },
  };
}

/** What is in the directory, again whenever `version` changes. */
function useListing(source, path, version) {
  const [listing, setListing] = useState({ entries: null, problem: null });
  useEffect(() => {
    const leaving = new AbortController();
    const { signal } = leaving;
    const read = async () => {
      const entries = await source.list(path);
      entries.sort((a, b) => DIRECTORY_FIRST[a.type] - DIRECTORY_FIRST[b.type] || a.name.localeCompare(b.name));
      if (!signal.aborted) setListing({ entries, problem: null });
    };
    const fail = (problem) => problem !== null && setListing({ entries: null, problem });
    void refresher(read, { fail, signal })();
    return () => leaving.abort();
  }, [source, path, version]);
  return listing;
}

/** `mayWrite`: also uploads and deletions, as far as the source has them. */
export function Files({ source, path, go, label, mayRead = true, mayWrite }) {
  const [version, setVersion] = useState(0);
  const [query, setQuery] = useState('');
  const [failure, setFailure] = useState(null);
  const [removing, setRemoving] = useState(null);
  const { entries, problem } = useListing(source, path, version);
  useEffect(() => setQuery(''), [path]);
  const found = useMemo(() => {
    const wanted = query.toLowerCase();
    return (entries ?? []).filter(({ name }) => name.toLowerCase().includes(wanted));
  }, [entries, query]);
  // The path of a working directory is known from what is in it.
  const here = path === '.' && entries !== null && entries.length > 0 ? parentOf(entries[0].path) : path;
  const again = () => setVersion((before) => before + 1);
  const remove = async () => {
    await source.remove(removing);
    setRemoving(null);
    again();
  };
  return html`<div class="bar">
      <${Path} here=${here} go=${go} label=${label} />
      <label class="search"
        ><span class="hidden">Filter by name</span
        ><input type="search" placeholder="Filter" value=${query} onInput=${(event) => setQuery(event.target.value)}
      /></label>
      ${
        mayWrite &&
        html`<${Upload}
          entries=${entries ?? []}
          send=${(file, options) => source.upload(here, file, options)}
          onDone=${again}
          onError=${setFailure}
        />`
      }
    </div>
    <${Problem} text=${failure ?? problem} onClose=${failure === null ? undefined : () => setFailure(null)} />
    ${
      removing !== null &&
      html`<${Confirm}
        title="Delete this file?"
        text=${`${removing} is deleted. This cannot be undone.`}
        label="Delete file"
        act=${remove}
        onClose=${() => setRemoving(null)}
      />`
    }
    ${entries === null && problem === null && html`<${Waiting} />`}
    ${
      entries !== null &&
      (found.length === 0
        ? html`<p class="empty">
            ${entries.length === 0 ? 'This directory is empty.' : `No name contains “${query}”.`}
          </p>`
        : html`<${Table}
            entries=${found.slice(0, ROWS_SHOWN)}
            source=${source}
            go=${go}
            label=${`Files in ${here}`}
            mayRead=${mayRead}
            onRemove=${mayWrite && source.remove !== undefined ? setRemoving : null}
            onError=${setFailure}
          />`)
    }
    ${found.length > ROWS_SHOWN && html`<p class="minor">And ${number(found.length - ROWS_SHOWN)} more. Filter by name to see them.</p>`}`;
}

/** Each directory on the way is a link. */
function Path({ here, go, label }) {
  const names = here === '.' ? [] : here.split('/').filter(Boolean);
  const step = (path, text, isLast) =>
    html`<li>
      <button type="button" class="quiet" aria-current=${isLast ? 'true' : undefined} onClick=${() => go(path)}>
        ${text}
      </button>
    </li>`;
  return html`<nav class="path" aria-label="Directory">
    <ol>
      ${step('/', label, names.length === 0)}
      ${names.map((name, index) => step(`/${names.slice(0, index + 1).join('/')}`, name, index === names.length - 1))}
    </ol>
  </nav>`;
}

function Upload({ entries, send, onDone, onError }) {
  const [progress, setProgress] = useState(null);
  const [replacing, setReplacing] = useState(null);
  const input = useRef(null);
  const canceling = useRef(null);
  useEffect(() => () => canceling.current?.abort(), []);
  const start = async (files) => {
    setReplacing(null);
    const { signal } = (canceling.current = new AbortController());
    onError(null);
    try {
      for (const file of files) {
        setProgress({ name: file.name, fraction: 0 });
        await send(file, { signal, onProgress: (fraction) => setProgress({ name: file.name, fraction }) });
      }
    } catch (error) {
      onError(error.message);
    }
    setProgress(null);
    onDone();
  };
  const choose = ({ target }) => {
    const files = [...target.files];
    target.value = '';
    const known = new Set(entries.map(({ name }) => name));
    const replaced = files.map(({ name }) => name).filter((name) => known.has(name));
    if (replaced.length > 0) setReplacing({ files, replaced });
    else if (files.length > 0) void start(files);
  };
  if (progress !== null) {
    const { name, fraction } = progress;
    return html`<span class="minor" role="status">${name}</span>
      <progress value=${fraction} aria-label=${`Upload of ${name}`}></progress>
      <button type="button" class="quiet" onClick=${() => canceling.current.abort()}>Cancel upload</button>`;
  }
  return html`<input type="file" multiple hidden ref=${input} onChange=${choose} />
    <button type="button" onClick=${() => input.current.click()}>Upload</button>
    ${
      replacing !== null &&
      html`<${Confirm}
        title="Replace files?"
        text=${`${replacing.replaced.join(', ')} already ${replacing.replaced.length === 1 ? 'exists' : 'exist'} here.`}
        label="Replace"
        act=${async () => void start(replacing.files)}
        onClose=${() => setReplacing(null)}
      />`
    }`;
}

function Table({ entries, source, go, label, mayRead, onRemove, onError }) {
  return html`<div class="scroll" tabindex="0" role="region" aria-label=${label}>
    <table class="files">
      <thead>
        <tr>
          <th>Name</th>
          <th class="number">Size</th>
          <th>Changed</th>
          <th>Permissions</th>
          <th><span class="hidden">Actions</span></th>
        </tr>
      </thead>
      <tbody>
        ${entries.map(
          (entry) =>
            html`<tr key=${entry.path}>
              <th scope="row">
                ${
                  entry.type === 'dir'
                    ? html`<button type="button" class="quiet" onClick=${() => go(entry.path)}>${entry.name}/</button>`
                    : entry.name
                }
              </th>
              <td class="number">${entry.type === 'file' ? bytes(entry.size) : ''}</td>
              <td class="minor" title=${localTime(entry.lastModified)}>${ago(entry.lastModified)}</td>
              <td class="minor"><code>${entry.nativePermissions}</code></td>
              <td class="act"><${Actions} ...${{ entry, source, mayRead, onRemove, onError }} /></td>
            </tr>`,
        )}
      </tbody>
    </table>
  </div>`;
}

function Actions({ entry: { path, name, type }, source, mayRead, onRemove, onError }) {
  const isFile = type === 'file' || type === 'symbolic_link';
  return html`${
    mayRead &&
    isFile &&
    html`<${Action}
      kind="quiet"
      label="Download"
      title="Download ${name}"
      onError=${onError}
      act=${() => source.download(path, name)}
    />`
  }${
    mayRead &&
    type === 'dir' &&
    source.zip !== undefined &&
    html`<${Action}
      kind="quiet"
      label="ZIP"
      title="Download ${name} as ZIP"
      onError=${onError}
      act=${() => source.zip(path, name)}
    />`
  }${
    onRemove !== null &&
    isFile &&
    html`<button
      type="button"
      class="quiet danger"
      aria-label="Delete ${name}"
      title="Delete ${name}"
      onClick=${() => onRemove(path)}
    >
      Delete
    </button>`
  }`;
}
