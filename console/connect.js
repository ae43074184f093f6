import { get, podPath } from '/console/api.js';
import { shellWord } from '/console/format.js';
import { Copy, html, Problem, Tabs, useEffect, useState } from '/console/ui.js';

const BOLT_PORT = 7687;
const HIDDEN = '••••••••';

function kindOf({ protocol, port }) {
  if (protocol === 'tcp' && port === BOLT_PORT) return 'bolt';
  return protocol;
}

/** What to type in each client, by its name. `ca`: a file, or null for the CAs that clients trust anyway. */
export function snippets({ stanza, user, password, ca }) {
  const { url: host, public_port: port } = stanza;
  switch (kindOf(stanza)) {
    case 'postgres':
      return postgresSnippets({ host, port, user, password, ca });
    case 'bolt':
      return boltSnippets({ host, port, user, password, ca });
    case 'http':
      return httpSnippets(`https://${host}${port === 443 ? '' : `:${port}`}/`, ca);
    default:
      return { Address: `${host}:${port}`, openssl: `openssl s_client -connect ${host}:${port} -servername ${host}` };
  }
}

function postgresSnippets({ host, port, user, password, ca }) {
  const root = ca ?? 'system';
  // Most resolvers do not know names below localhost; libpq dials hostaddr and checks the certificate for host.
  const dialed = host.endsWith('.localhost') ? ' hostaddr=127.0.0.1' : '';
  const libpq = `host=${host}${dialed} port=${port} dbname=${user} user=${user} sslmode=verify-full sslrootcert=${root}`;
  const uri = `postgresql://${user}:${password}@${host}:${port}/${user}`;
  const caOption = ca === null ? '' : `, ca: readFileSync(${JSON.stringify(ca)})`;
  return {
    psql: `PGPASSWORD=${shellWord(password)} psql ${shellWord(libpq)}`,
    JDBC: `jdbc:postgresql://${host}:${port}/${user}?user=${user}&password=${password}&sslmode=verify-full${ca === null ? '' : `&sslrootcert=${encodeURI(ca)}`}`,
    Python: `import psycopg  # pip install "psycopg[binary]"

with psycopg.connect("${libpq}", password="${password}") as connection:
    print(connection.execute("SELECT version()").fetchone())`,
    Node: `import pg from 'pg'; // npm install pg
${ca === null ? '' : "import { readFileSync } from 'node:fs';\n"}
const client = new pg.Client({
  connectionString: '${uri}',
  ssl: { servername: '${host}'${caOption} },
});
await client.connect();
console.log((await client.query('SELECT version()')).rows[0]);
await client.end();`,
    Go: `db, err := sql.Open("pgx", "${uri}?sslmode=verify-full${ca === null ? '' : `&sslrootcert=${ca}`}")`,
  };
}

function boltSnippets({ host, port, user, password, ca }) {
  const uri = `neo4j+s://${host}:${port}`;
  const trust = ca === null ? '' : `# trust the CA first: export SSL_CERT_FILE=${shellWord(ca)}\n`;
  return {
    cypher: `./podgate cypher ${host.split('.')[0]} -c 'RETURN 6 * 7 AS answer'`,
    Python: `${trust}from neo4j import GraphDatabase  # pip install neo4j

with GraphDatabase.driver("${uri}", auth=("${user}", "${password}")) as driver:
    print(driver.execute_query("RETURN 6 * 7 AS answer").records)`,
    Node: `${ca === null ? '' : `// NODE_EXTRA_CA_CERTS=${ca} node graph.js\n`}import neo4j from 'neo4j-driver'; // npm install neo4j-driver

const driver = neo4j.driver('${uri}', neo4j.auth.basic('${user}', '${password}'));
console.log((await driver.executeQuery('RETURN 6 * 7 AS answer')).records);
await driver.close();`,
    JDBC: `jdbc:neo4j+s://${host}:${port}?user=${user}&password=${password}`,
    Go: `driver, err := neo4j.NewDriverWithContext("${uri}", neo4j.BasicAuth("${user}", "${password}", ""))`,
  };
}

function httpSnippets(url, ca) {
  return {
    curl: `curl ${ca === null ? '' : `--cacert ${shellWord(ca)} `}${url}`,
    Python: `import requests

print(requests.get("${url}"${ca === null ? '' : `, verify="${ca}"`}).text)`,
    Node: `${ca === null ? '' : `// NODE_EXTRA_CA_CERTS=${ca} node get.js\n`}console.log(await (await fetch('${url}')).text());`,
  };
}

export function ConnectBox({ pod, session }) {
  const stanzas = Object.entries(pod.networking).filter(([, { url }]) => url !== '');
  const [name, setName] = useState(stanzas[0]?.[0]);
  const [client, setClient] = useState(null);
  const [credentials, setCredentials] = useState(null);
  const [isShown, setShown] = useState(false);
  const [problem, setProblem] = useState(null);
  const stanza = pod.networking[name];
  const kind = stanza === undefined ? null : kindOf(stanza);
  const needsPassword = kind === 'postgres' || kind === 'bolt';
  useEffect(() => setShown(false), [name]);
  if (stanza === undefined) return html`<p class="hint">This pod has no address outside.</p>`;
  const load = async () => {
    if (credentials !== null) return credentials;
    const loaded = await get(podPath(pod.pod_id, '/credentials'));
    setCredentials(loaded);
    return loaded;
  };
  const textFor = (known, chosen) =>
    snippets({
      stanza,
      user: known?.user_username ?? (kind === 'bolt' ? 'neo4j' : pod.pod_id),
      password: known?.user_password ?? HIDDEN,
      ca: session.ca_path,
    })[chosen];
  const names = Object.keys(snippets({ stanza, user: '', password: '', ca: null }));
  const chosen = names.includes(client) ? client : names[0];
  const show = async () => {
    try {
      await load();
      setShown(!isShown);
    } catch (error) {
      setProblem(error.message);
    }
  };
  return html`${
      stanzas.length > 1 &&
      html`<label class="inline"
        >Address
        <select value=${name} onChange=${(event) => setName(event.target.value)}>
          ${stanzas.map(([each, { url }]) => html`<option value=${each}>${url}</option>`)}
        </select></label
      >`
    }
    <${Tabs} label="Client" names=${names} chosen=${chosen} choose=${setClient}>
      <pre class="code" tabindex="0"><code>${textFor(isShown ? credentials : null, chosen)}</code></pre>
      <div class="buttons">
        <${Copy} text=${async () => textFor(needsPassword ? await load() : null, chosen)} />
        ${
          needsPassword &&
          html`<button type="button" class="quiet" aria-pressed=${isShown ? 'true' : 'false'} onClick=${show}>
            ${isShown ? 'Hide password' : 'Show password'}
          </button>`
        }
        ${
          kind === 'http' &&
          html`<a
            class="button quiet"
            href="https://${stanza.url}${stanza.public_port === 443 ? '' : `:${stanza.public_port}`}/"
            target="_blank"
            rel="noreferrer"
            >Open</a
          >`
        }
      </div>
    <//>
    <${Problem} text=${problem} onClose=${() => setProblem(null)} />`;
}
