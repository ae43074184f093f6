import { html } from '/console/ui.js';

/** Whose schema allows more forms than a form should offer. */
const KINDS = { environment_variables: 'variables', arguments: 'words' };
const WORDS = { mem: 'Memory', cpu: 'CPU', gpus: 'GPUs' };

/** Several words are one where quotes say so, as a shell reads them. */
export function wordsOf(text) {
  return [...text.matchAll(/"([^"]*)"|'([^']*)'|(\S+)/g)].map(([, double, single, bare]) => double ?? single ?? bare);
}

function labelOf(name) {
  const [first, ...rest] = name.split('_');
  return [WORDS[first] ?? first.charAt(0).toUpperCase() + first.slice(1), ...rest].join(' ');
}

function kindOf(name, { type, enum: choices }) {
  if (KINDS[name] !== undefined) return KINDS[name];
  if (choices !== undefined) return 'choice';
  return { integer: 'number', number: 'number', boolean: 'flag', string: 'text' }[type] ?? 'json';
}

/**
 * The fields of a form, by the properties of a JSON schema: `{path, kind, label, schema}`. Objects whose properties are
 * known are fields of their own; of what a schema says nothing about, the JSON is asked for.
 */
export function fieldsOf(properties, above = []) {
  return Object.entries(properties).flatMap(([name, given]) => {
    const schema = { ...given, ...given.anyOf?.find(({ type }) => type !== 'null') };
    const path = [...above, name];
    if (schema.properties !== undefined && above.length === 0) return fieldsOf(schema.properties, path);
    return [{ path, kind: kindOf(name, schema), label: path.map(labelOf).join(': '), schema }];
  });
}

/** What the API gets for what was typed. Throws an Error with a sentence. */
function valueOf({ kind, label }, text) {
  switch (kind) {
    case 'number':
      return Number(text);
    case 'flag':
      return text === 'true';
    case 'words':
      return wordsOf(text);
    case 'variables': {
      const lines = text.split('\n').filter((line) => line.trim() !== '');
      if (lines.some((line) => !line.includes('='))) throw new Error(`${label}: write NAME=value, one per line.`);
      return Object.fromEntries(lines.map((line) => [line.split('=', 1)[0].trim(), line.slice(line.indexOf('=') + 1)]));
    }
    case 'json':
      try {
        return JSON.parse(text);
      } catch {
        throw new Error(`${label}: this is not JSON.`);
      }
    default:
      return text;
  }
}

/** `{body, problem}`: the fields that are filled in. `texts`: by path, joined by dots. */
export function bodyOfFields(fields, texts) {
  const body = {};
  let problem = null;
  for (const field of fields) {
    const text = texts[field.path.join('.')] ?? '';
    if (text === '') continue;
    try {
      const parent = field.path.slice(0, -1).reduce((object, name) => (object[name] ??= {}), body);
      parent[field.path.at(-1)] = valueOf(field, text);
    } catch (error) {
      problem ??= error.message;
    }
  }
  return { body, problem };
}

const HINTS = { json: 'JSON.', variables: 'NAME=value, one per line.', words: 'Quotes group words.' };

/** `set(key)` takes a text. */
export function SchemaFields({ fields, texts, set }) {
  return html`${fields.map((field) => {
    const { path, kind, label, schema } = field;
    const key = path.join('.');
    const id = `field-${path.join('-')}`;
    const text = texts[key] ?? '';
    const hint = [schema.description, HINTS[kind]].filter(Boolean).join(' ');
    const common = {
      id,
      value: text,
      onInput: ({ target }) => set(key, target.value),
      'aria-describedby': hint === '' ? undefined : `${id}-hint`,
    };
    if (kind === 'flag') {
      return html`<div class="field">
        <span class="check"
          ><input
            ...${common}
            type="checkbox"
            value="true"
            checked=${text === 'true'}
            onInput=${({ target }) => set(key, target.checked ? 'true' : '')}
          /><label for=${id}>${label}</label></span
        >
        ${hint !== '' && html`<p class="hint" id="${id}-hint">${hint}</p>`}
      </div>`;
    }
    return html`<div class="field">
      <label for=${id}>${label}</label>
      ${input(kind, schema, common)} ${hint !== '' && html`<p class="hint" id="${id}-hint">${hint}</p>`}
    </div>`;
  })}`;
}

function input(kind, schema, common) {
  switch (kind) {
    case 'choice':
      return html`<select ...${common}>
        <option value="">Default</option>
        ${schema.enum.map((each) => html`<option>${each}</option>`)}
      </select>`;
    case 'number':
      return html`<input
        ...${common}
        type="number"
        min=${schema.minimum > Number.MIN_SAFE_INTEGER ? schema.minimum : undefined}
        max=${schema.maximum < Number.MAX_SAFE_INTEGER ? schema.maximum : undefined}
      />`;
    case 'json':
    case 'variables':
      return html`<textarea ...${common} rows="3" spellcheck="false"></textarea>`;
    default:
      return html`<input ...${common} maxlength=${schema.maxLength} spellcheck="false" autocomplete="off" />`;
  }
}
