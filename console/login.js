import { beginOauth, get, logIn } from '/console/api.js';
import { html, Problem, useEffect, useState } from '/console/ui.js';

export function Login({ problem, onDone }) {
  const [failure, setFailure] = useState(problem);
  const [token, setToken] = useState('');
  const [isBusy, setBusy] = useState(false);
  const [server, setServer] = useState(null);
  useEffect(() => {
    get('/v3/oauth-client').then(
      (client) => client?.authorization_endpoint && setServer(new URL(client.authorization_endpoint).host),
      // Pasting a token works all the same.
      () => undefined,
    );
  }, []);
  const submit = async (event) => {
    event.preventDefault();
    setBusy(true);
    try {
      await logIn({ token });
      onDone();
    } catch (error) {
      setFailure(error.message);
      setBusy(false);
    }
  };
  return html`<main class="narrow">
    <h1><img src="/console/icon.svg" alt="" width="28" height="28" /> Podgate</h1>
    <${Problem} text=${failure} />
    ${
      server !== null &&
      html`<p><button type="button" class="primary" onClick=${() => void beginOauth()}>Log in at ${server}</button></p>`
    }
    <form onSubmit=${submit}>
      <label for="token">Token</label>
      <textarea
        id="token"
        rows="4"
        required
        spellcheck="false"
        autocomplete="off"
        aria-describedby="token-hint"
        value=${token}
        onInput=${(event) => setToken(event.target.value)}
      ></textarea>
      <p class="hint" id="token-hint">
        On the machine that runs Podgate, <code>./podgate console</code> prints a link that logs you in, and${' '}
        <code>./podgate token --user NAME</code> a token. Otherwise paste your tenant's access token.
      </p>
      <button type="submit" class="primary" disabled=${isBusy}>Log in</button>
    </form>
  </main>`;
}
