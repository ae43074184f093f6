import { Files, filesOfPod } from '/console/files.js';
import { html, useEffect, useMemo, useState } from '/console/ui.js';

const NOUNS = { tapisvolume: 'volume', tapissnapshot: 'snapshot' };

/** Mounts are keyed by their path, or by what is mounted. */
function Mount({ name, mount }) {
  const { type, sub_path: subPath, read_only: isReadOnly } = mount;
  const [path, id] = mount.mount_path === undefined ? [name, mount.source_id] : [mount.mount_path, name];
  const noun = NOUNS[type];
  const under = subPath.split('/').filter(Boolean).map(encodeURIComponent).join('/');
  return html`<div>
    <dt class="path-name">${path}</dt>
    <dd>
      ${
        noun === undefined
          ? `${type} ${id}`
          : html`${noun} <a href="#/${noun}s/${id}${under === '' ? '' : `/${under}`}">${id}</a>`
      }
      ${isReadOnly === true && html` <span class="minor">read-only</span>`}
    </dd>
  </div>`;
}

/** The volumes that the pod mounts and, once the user asks for them, its files: each list is a command in the pod. */
export function PodFiles({ pod, isRunning, mayBrowse }) {
  const [path, setPath] = useState(null);
  const source = useMemo(() => filesOfPod(pod.pod_id), [pod.pod_id]);
  useEffect(() => {
    if (!isRunning) setPath(null);
  }, [isRunning]);
  const mounts = Object.entries(pod.volume_mounts);
  return html`${
    mounts.length === 0
      ? html`<p class="minor">
          This pod mounts no volumes.${pod.persistent_volume ? ' It has a persistent volume of its own.' : ''}
        </p>`
      : html`<dl>${mounts.map(([name, mount]) => html`<${Mount} name=${name} mount=${mount} />`)}</dl>`
  }
  ${
    mayBrowse &&
    (path === null
      ? html`<div class="buttons">
          <button type="button" disabled=${!isRunning} onClick=${() => setPath(source.root)}>Browse files</button>
        </div>`
      : html`<${Files} source=${source} path=${path} go=${setPath} label="/" mayWrite=${true} />`)
  }`;
}
