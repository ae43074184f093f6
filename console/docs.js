import { html, Problem, render, useEffect, useMemo, useState } from '/console/ui.js';

/** What a schema allows, in a few words. */
export function typeText(schema, schemas) {
  if (schema === undefined || schema === true) return 'anything';
  if (schema.$ref !== undefined) {
    const name = schema.$ref.split('/').at(-1);
    return schemas[name]?.type === 'object' ? name : typeText(schemas[name], schemas);
  }
  const options = schema.anyOf ?? schema.oneOf;
  if (options !== undefined) return options.map((each) => typeText(each, schemas)).join(' or ');
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum !== undefined) return schema.enum.map((each) => JSON.stringify(each)).join(', ');
  if (schema.type === 'array') return `list of ${typeText(schema.items, schemas)}`;
  const bounds = [
    schema.minimum === undefined ? '' : `from ${schema.minimum}`,
    schema.maximum === undefined ? '' : `to ${schema.maximum}`,
    schema.maxLength === undefined ? '' : `at most ${schema.maxLength} characters`,
  ].filter(Boolean);
  return [schema.format ?? schema.type ?? 'anything', ...bounds].join(' ');
}

function Fields({ title, fields, required = [], schemas }) {
  return html`<details>
    <summary>${title}</summary>
    <dl>
      ${Object.entries(fields).map(
        ([name, schema]) =>
          html`<div>
            <dt>${name}${required.includes(name) ? ' *' : ''}</dt>
            <dd>
              ${typeText(schema, schemas)}${schema.description === undefined ? '' : html` <span class="minor">${schema.description}</span>`}
            </dd>
          </div>`,
      )}
    </dl>
  </details>`;
}

function resolved(schema, schemas) {
  return schema?.$ref === undefined ? schema : schemas[schema.$ref.split('/').at(-1)];
}

function Operation({ operation, schemas }) {
  const { id, method, path, summary, parameters = [], requestBody, responses } = operation;
  const body = resolved(requestBody?.content?.['application/json']?.schema, schemas);
  const envelope = resolved(responses?.['200']?.content?.['application/json']?.schema, schemas);
  const outcome = resolved(envelope?.properties?.result, schemas);
  const shown = resolved(outcome?.type === 'array' ? outcome.items : outcome, schemas);
  return html`<article id=${id} aria-labelledby="${id}-title">
    <h3 id="${id}-title"><span class="method">${method}</span><span>/v3${path}</span></h3>
    <p>${summary}</p>
    ${
      parameters.length > 0 &&
      html`<${Fields}
        title="Parameters"
        schemas=${schemas}
        required=${parameters.filter((each) => each.required).map((each) => each.name)}
        fields=${Object.fromEntries(parameters.map(({ name, schema, description }) => [name, { ...schema, ...(description === undefined ? {} : { description }) }]))}
      />`
    }
    ${body?.properties !== undefined && html`<${Fields} title="Body" schemas=${schemas} required=${body.required} fields=${body.properties} />`}
    ${shown?.properties !== undefined && html`<${Fields} title="Result" schemas=${schemas} fields=${shown.properties} />`}
  </article>`;
}

function Docs() {
  const [document_, setDocument] = useState(null);
  const [problem, setProblem] = useState(null);
  const [query, setQuery] = useState('');
  useEffect(() => {
    fetch('/openapi.json')
      .then((response) => response.json())
      .then(setDocument)
      .catch(() => setProblem('The API does not respond. Load the page again.'));
  }, []);
  const operations = useMemo(
    () =>
      Object.entries(document_?.paths ?? {}).flatMap(([path, methods]) =>
        Object.entries(methods).map(([method, operation]) => ({
          ...operation,
          method,
          path,
          id: `${method}-${operation.operationId}`,
        })),
      ),
    [document_],
  );
  const tags = useMemo(() => {
    const wanted = query.toLowerCase();
    const found = operations.filter(({ path, summary }) => `${path} ${summary}`.toLowerCase().includes(wanted));
    return [...Map.groupBy(found, ({ tags: [tag] }) => tag)];
  }, [operations, query]);
  // The browser looked for the anchor before it was there.
  useEffect(() => document.getElementById(location.hash.slice(1))?.scrollIntoView(), [document_]);
  return html`<header class="top">
      <a class="mark" href="/"><img src="/console/icon.svg" alt="" width="20" height="20" />Podgate</a>
      <nav aria-label="Main"><a href="/#/pods">Pods</a><a href="/docs" aria-current="page">API</a></nav>
      <a href="/openapi.json">openapi.json</a>
    </header>
    <main>
      <${Problem} text=${problem} />
      ${
        document_ !== null &&
        html`<div class="head">
            <h1>API</h1>
            <label class="search"
              ><span class="hidden">Search operations</span
              ><input
                type="search"
                placeholder="Search"
                value=${query}
                onInput=${(event) => setQuery(event.target.value)}
            /></label>
          </div>
          <p>
            Version ${document_.info.version}. Send your token in the header <code>X-Tapis-Token</code> or as
            <code> Authorization: Bearer</code>. Every response has the fields message, metadata, result, status and
            version.
          </p>
          <div class="docs">
            <nav aria-label="Operations">
              ${tags.map(
                ([tag, each]) =>
                  html`<h2>${tag}</h2>
                    ${each.map(({ id, method, path }) => html`<a href="#${id}">${method.toUpperCase()} ${path}</a>`)}`,
              )}
            </nav>
            <div>
              ${tags.map(
                ([tag, each]) =>
                  html`<section aria-label=${tag}>
                    <h2>${tag}</h2>
                    ${each.map((operation) => html`<${Operation} key=${operation.id} operation=${operation} schemas=${document_.components.schemas} />`)}
                  </section>`,
              )}
            </div>
          </div>`
      }
    </main>`;
}

render(html`<${Docs} />`, document.getElementById('app'));
