import { call, get } from '/console/api.js';
import { Action, html, Problem, useLive, useState } from '/console/ui.js';

const EVERY_MS = 15_000;
const LEVELS = ['READ', 'USER', 'ADMIN'];

/** Who may do what with the object behind `path`. */
export function Permissions({ path }) {
  const [version, setVersion] = useState(0);
  const [problem, setProblem] = useState(null);
  const [user, setUser] = useState('');
  const [level, setLevel] = useState('USER');
  const { value, problem: unread } = useLive(() => get(path), EVERY_MS, [path, version]);
  const change = async (method, rest, body) => {
    await call(method, `${path}${rest}`, body);
    setProblem(null);
    setVersion(version + 1);
  };
  const add = async (event) => {
    event.preventDefault();
    try {
      await change('POST', '', { user, level });
      setUser('');
    } catch (error) {
      setProblem(error.message);
    }
  };
  return html`<${Problem} text=${problem ?? unread} />
    <ul class="rows">
      ${(value?.permissions ?? []).map((text) => {
        const [name, given] = text.split(':');
        return html`<li>
          <span>${name}</span><span class="minor">${given}</span>
          <${Action}
            kind="quiet"
            label="Remove"
            title="Remove ${name}"
            onError=${setProblem}
            act=${() => change('DELETE', `/${encodeURIComponent(name)}`)}
          />
        </li>`;
      })}
    </ul>
    <form class="bar" onSubmit=${add}>
      <label class="inline"
        ><span class="hidden">User</span
        ><input
          required
          placeholder="User name"
          autocomplete="off"
          value=${user}
          onInput=${(event) => setUser(event.target.value)}
      /></label>
      <label class="inline"
        ><span class="hidden">Level</span
        ><select value=${level} onChange=${(event) => setLevel(event.target.value)}>
          ${LEVELS.map((each) => html`<option>${each}</option>`)}
        </select></label
      >
      <button type="submit">Share</button>
    </form>`;
}
