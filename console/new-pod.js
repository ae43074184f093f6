import { call } from '/console/api.js';
import { shellWord } from '/console/format.js';
import { Copy, html, Problem, useEffect, useMemo, useState } from '/console/ui.js';

const ID = /^[a-z][a-z0-9]+$/;
const ID_MIN_LENGTH = 3;

/** Why a name is refused, before it is sent; null = it is not. */
export function idProblem(id, most, reserved) {
  if (!ID.test(id)) return 'Start with a lowercase letter; use only lowercase letters and digits.';
  if (id.length < ID_MIN_LENGTH) return `At least ${ID_MIN_LENGTH} characters.`;
  if (id.length > most) return `At most ${most} characters here.`;
  return reserved.includes(id) ? 'This name is reserved.' : null;
}

/** The words of a command line, with quotes as a shell reads them. */
export function wordsOf(text) {
  return [...text.matchAll(/"([^"]*)"|'([^']*)'|(\S+)/g)].map(([, double, single, bare]) => double ?? single ?? bare);
}

/** The fields of the form that the template takes and that are filled in, as the API wants them. */
export function bodyOf(fields, template) {
  const { id, command, port, description, memory, cpu, persistent } = fields;
  return {
    pod_id: id,
    pod_template: template.name,
    ...(description === '' ? {} : { description }),
    ...(template.takes_command && command !== '' ? { command: wordsOf(command) } : {}),
    ...(template.stanzas.length === 0 && port !== '' ? { routing_port: Number(port) } : {}),
    ...(persistent ? { persistent_volume: true } : {}),
    ...(memory === '' && cpu === ''
      ? {}
      : {
          resources: {
            ...(memory === '' ? {} : { mem_limit: Number(memory) }),
            ...(cpu === '' ? {} : { cpu_limit: Number(cpu) }),
          },
        }),
  };
}

export function curlOf(body) {
  return `curl -sS -H "X-Tapis-Token: $TOKEN" -H 'Content-Type: application/json' \\
  -d ${shellWord(JSON.stringify({ ...body, pod_id: body.pod_id || 'NAME' }))} '${location.origin}/v3/pods?wait=routable'`;
}

export function commandOf(body) {
  return [
    `./podgate create ${body.pod_id || 'NAME'} --template ${body.pod_template}`,
    body.description === undefined ? '' : ` --description ${shellWord(body.description)}`,
    body.routing_port === undefined ? '' : ` --port ${body.routing_port}`,
    body.persistent_volume === true ? ' --persistent' : '',
    body.resources?.mem_limit === undefined ? '' : ` --memory ${body.resources.mem_limit}`,
    body.resources?.cpu_limit === undefined ? '' : ` --cpu ${body.resources.cpu_limit}`,
    body.command === undefined ? '' : ` -- ${body.command.map(shellWord).join(' ')}`,
  ].join('');
}

export function NewPodPage({ session }) {
  const [schema, setSchema] = useState(null);
  const [name, setName] = useState(session.templates[0].name);
  const [fields, setFields] = useState({
    id: '',
    command: '',
    port: '',
    description: '',
    memory: '',
    cpu: '',
    persistent: false,
  });
  const [problem, setProblem] = useState(null);
  const [isBusy, setBusy] = useState(false);
  useEffect(() => {
    fetch('/openapi.json')
      .then((response) => response.json())
      .then(({ components }) => setSchema(components.schemas.NewPod.properties))
      .catch(() => undefined);
  }, []);
  const template = session.templates.find((each) => each.name === name);
  const body = useMemo(() => bodyOf(fields, template), [fields, template]);
  const wrongId = fields.id === '' ? null : idProblem(fields.id, template.max_id_length, session.reserved_ids);
  const set = (field) => (event) => setFields({ ...fields, [field]: event.target.value });
  const submit = async (event) => {
    event.preventDefault();
    const wrong = idProblem(fields.id, template.max_id_length, session.reserved_ids);
    if (wrong !== null) {
      document.getElementById('field-id').focus();
      return;
    }
    setBusy(true);
    try {
      await call('POST', '/v3/pods', body);
      location.hash = `#/pods/${fields.id}`;
    } catch (error) {
      setProblem(error.message);
      setBusy(false);
    }
  };
  // Bounds and explanations come from the schema that checks the call.
  const numberField = (field, label, unit, bounds) =>
    html`<div class="field">
      <label for="field-${field}">${label}</label>
      <span class="unit"
        ><input
          id="field-${field}"
          type="number"
          min=${bounds?.minimum}
          max=${bounds?.maximum}
          value=${fields[field]}
          onInput=${set(field)}
        />${unit}</span
      >
    </div>`;
  const limits = schema?.resources?.properties;
  return html`<p class="crumb"><a href="#/pods">Pods</a></p>
    <h1>New pod</h1>
    <form class="new" onSubmit=${submit}>
      <div>
        <fieldset class="templates">
          <legend>Template</legend>
          ${session.templates.map(
            (each) =>
              html`<label class=${each.name === name ? 'chosen' : ''}
                ><input
                  type="radio"
                  name="template"
                  value=${each.name}
                  checked=${each.name === name}
                  onChange=${() => setName(each.name)}
                /><strong>${each.name}</strong><span>${each.summary}</span></label
              >`,
          )}
        </fieldset>
        <div class="field">
          <label for="field-id">Name</label>
          <input
            id="field-id"
            required
            autocomplete="off"
            spellcheck="false"
            value=${fields.id}
            onInput=${set('id')}
            aria-invalid=${wrongId === null ? undefined : 'true'}
            aria-describedby="id-hint"
          />
          <p class="hint" id="id-hint" aria-live="polite">
            ${wrongId ?? `${template.max_id_length} characters at most. Reached at ${fields.id || 'NAME'}.pods.${session.base_host}.`}
          </p>
        </div>
        ${
          template.takes_command &&
          html`<div class="field">
            <label for="field-command">Command</label>
            <input
              id="field-command"
              required=${template.requires_command}
              spellcheck="false"
              autocomplete="off"
              value=${fields.command}
              onInput=${set('command')}
              aria-describedby="command-hint"
            />
            <p class="hint" id="command-hint">Quotes group words. The program listens on $PORT.</p>
          </div>`
        }
        <details>
          <summary>More</summary>
          <div class="field">
            <label for="field-description">Description</label>
            <input id="field-description" maxlength="255" value=${fields.description} onInput=${set('description')} />
          </div>
          <div class="pair">
            ${numberField('memory', 'Memory limit', 'MiB', limits?.mem_limit)}
            ${numberField('cpu', 'CPU limit', 'millicpu', limits?.cpu_limit)}
          </div>
          ${template.stanzas.length === 0 && numberField('port', 'Port', '', schema?.routing_port)}
          <label class="check"
            ><input
              type="checkbox"
              checked=${fields.persistent}
              onChange=${(event) => setFields({ ...fields, persistent: event.target.checked })}
            />
            Keep the data when the pod stops</label
          >
        </details>
        <${Problem} text=${problem} onClose=${() => setProblem(null)} />
        <button type="submit" class="primary" disabled=${isBusy}>Create pod</button>
      </div>
      <aside aria-label="The same by hand">
        <h2>Command line</h2>
        <pre class="code" tabindex="0"><code>${commandOf(body)}</code></pre>
        <${Copy} text=${() => commandOf(body)} />
        <h2>API</h2>
        <pre class="code" tabindex="0"><code>${curlOf(body)}</code></pre>
        <${Copy} text=${() => curlOf(body)} />
      </aside>
    </form>`;
}
