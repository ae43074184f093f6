import { call } from '/console/api.js';
import { shellWord } from '/console/format.js';
import { bodyOfFields, fieldsOf, SchemaFields, wordsOf } from '/console/schema-form.js';
import { Copy, html, Problem, useEffect, useMemo, useState } from '/console/ui.js';

/** The form has its own fields for these, or the template decides. */
const NOT_GENERATED = new Set([
  ...['pod_id', 'pod_template', 'template', 'image', 'command'],
  // Accepted, and without effect.
  ...['data_requests', 'roles_required', 'compute_queue'],
]);
/** What most pods need comes first; the rest in the order of the schema. */
const FIRST = ['description', 'persistent_volume', 'resources', 'environment_variables', 'time_to_stop_default'];
/** What `podgate create` has an option for. */
const OPTIONS = new Set([
  ...['pod_id', 'pod_template', 'command', 'description', 'routing_port', 'persistent_volume'],
  ...['environment_variables', 'time_to_stop_default', 'resources.mem_limit', 'resources.cpu_limit'],
]);

const ID = /^[a-z][a-z0-9]*$/;
const ID_MIN_LENGTH = 3;

/** Why a name is refused, before it is sent; null = it is not. */
export function idProblem(id, most, reserved) {
  if (!ID.test(id)) return 'Start with a lowercase letter; use only lowercase letters and digits.';
  if (id.length < ID_MIN_LENGTH) return `At least ${ID_MIN_LENGTH} characters.`;
  if (id.length > most) return `At most ${most} characters here.`;
  return reserved.includes(id) ? 'This name is reserved.' : null;
}

/** Of what the form shows for this template. */
export function formFields(properties, template) {
  const wanted = Object.keys(properties).filter(
    (name) => !NOT_GENERATED.has(name) && (name !== 'routing_port' || template.stanzas.length === 0),
  );
  const ordered = [...FIRST.filter((name) => wanted.includes(name)), ...wanted.filter((name) => !FIRST.includes(name))];
  return fieldsOf(Object.fromEntries(ordered.map((name) => [name, properties[name]])));
}

export function curlOf(body) {
  return `curl -sS -H "X-Tapis-Token: $TOKEN" -H 'Content-Type: application/json' \\
  -d ${shellWord(JSON.stringify({ ...body, pod_id: body.pod_id || 'NAME' }))} '${location.origin}/v3/pods?wait=routable'`;
}

export function commandOf(body) {
  const names = Object.entries(body).flatMap(([name, value]) =>
    name === 'resources' ? Object.keys(value).map((each) => `resources.${each}`) : [name],
  );
  const id = body.pod_id || 'NAME';
  if (names.some((name) => !OPTIONS.has(name))) {
    return `echo ${shellWord(JSON.stringify({ ...body, pod_id: id }))} | ./podgate create --file -`;
  }
  const { resources = {}, time_to_stop_default: stopAfter } = body;
  const option = (name, value) => (value === undefined ? '' : ` --${name} ${shellWord(String(value))}`);
  return [
    `./podgate create ${id} --template ${body.pod_template}`,
    option('description', body.description),
    option('port', body.routing_port),
    body.persistent_volume === true ? ' --persistent' : '',
    option('memory', resources.mem_limit),
    option('cpu', resources.cpu_limit),
    option('stop-after', stopAfter === undefined ? undefined : stopAfter === -1 ? 'never' : `${stopAfter}s`),
    ...Object.entries(body.environment_variables ?? {}).map(([name, value]) => option('env', `${name}=${value}`)),
    body.command === undefined ? '' : ` -- ${body.command.map(shellWord).join(' ')}`,
  ].join('');
}

export function NewPodPage({ session }) {
  const [schema, setSchema] = useState(null);
  const [name, setName] = useState(session.templates[0].name);
  const [id, setId] = useState('');
  const [isIdLeft, setIdLeft] = useState(false);
  const [takenId, setTakenId] = useState(null);
  const [command, setCommand] = useState('');
  const [texts, setTexts] = useState({});
  const [problem, setProblem] = useState(null);
  const [isBusy, setBusy] = useState(false);
  useEffect(() => {
    fetch('/openapi.json')
      .then((response) => response.json())
      .then(({ components }) => setSchema(components.schemas.NewPod.properties))
      .catch(() => undefined);
  }, []);
  const template = session.templates.find((each) => each.name === name);
  const fields = useMemo(() => (schema === null ? [] : formFields(schema, template)), [schema, template]);
  const { body: rest, problem: wrongField } = useMemo(() => bodyOfFields(fields, texts), [fields, texts]);
  const body = {
    ...{ pod_id: id, pod_template: template.name },
    ...(template.takes_command && command !== '' ? { command: wordsOf(command) } : {}),
    ...rest,
  };
  const problemOf = (name) => idProblem(name, template.max_id_length, session.reserved_ids);
  // While a name is being typed, it is not too short yet.
  const isJudged = isIdLeft ? id !== '' : id.length >= ID_MIN_LENGTH || (id !== '' && !ID.test(id));
  const wrongId = takenId !== null && takenId.id === id ? takenId.message : isJudged ? problemOf(id) : null;
  const set = (key, text) => {
    setTexts({ ...texts, [key]: text });
    setProblem(null);
  };
  const submit = async (event) => {
    event.preventDefault();
    setIdLeft(true);
    if (wrongId !== null || problemOf(id) !== null) {
      document.getElementById('field-id').focus();
      return;
    }
    if (wrongField !== null) {
      setProblem(wrongField);
      return;
    }
    setBusy(true);
    try {
      await call('POST', '/v3/pods', body);
      location.hash = `#/pods/${id}`;
    } catch (error) {
      if (error.status === 409) {
        setTakenId({ id, message: error.message });
        document.getElementById('field-id').focus();
      } else setProblem(error.message);
      setBusy(false);
    }
  };
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
            value=${id}
            onInput=${({ target }) => setId(target.value)}
            onBlur=${() => setIdLeft(true)}
            aria-invalid=${wrongId === null ? undefined : 'true'}
            aria-describedby="id-hint"
          />
          <p class=${wrongId === null ? 'hint' : 'hint wrong'} id="id-hint" aria-live="polite">
            ${wrongId ?? `${template.max_id_length} characters at most. Reached at ${id || 'NAME'}.pods.${session.base_host}.`}
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
              value=${command}
              onInput=${({ target }) => setCommand(target.value)}
              aria-describedby="command-hint"
            />
            <p class="hint" id="command-hint">Quotes group words. The program listens on $PORT.</p>
          </div>`
        }
        <details>
          <summary>More</summary>
          <${SchemaFields} fields=${fields} texts=${texts} set=${set} />
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
