import { endOauth, get, hasSession, isPassing, logIn, logOut, whenSignedOut } from '/console/api.js';
import { Login } from '/console/login.js';
import { NewPodPage } from '/console/new-pod.js';
import { OperatorPage } from '/console/operator.js';
import { PodPage } from '/console/pod-page.js';
import { PodsPage } from '/console/pods-page.js';
import { html, Problem, render, useEffect, useRef, useState, Waiting } from '/console/ui.js';
import { VolumePage, VolumesPage } from '/console/volumes-page.js';

const RETRY_MS = 2_000;

/** `#/pods/mypg` is one pod, `#/new` a new one. */
function routeOf(hash) {
  const [, page = 'pods', ...rest] = hash.split('/');
  return { page: page === '' ? 'pods' : page, id: decodeURIComponent(rest.join('/')) };
}

function Page({ route, session }) {
  switch (route.page) {
    case 'new':
      return html`<${NewPodPage} session=${session} />`;
    case 'operator':
      return html`<${OperatorPage} />`;
    case 'volumes':
    case 'snapshots':
      return route.id === ''
        ? html`<${VolumesPage} />`
        : html`<${VolumePage}
            key=${`${route.page} ${route.id.split('/', 1)[0]}`}
            noun=${route.page.slice(0, -1)}
            place=${route.id}
            session=${session}
          />`;
    default:
      return route.id === ''
        ? html`<${PodsPage} session=${session} />`
        : html`<${PodPage} key=${route.id} podId=${route.id} session=${session} />`;
  }
}

function NavLink({ href, current, children }) {
  return html`<a href=${href} aria-current=${current ? 'page' : undefined}>${children}</a>`;
}

function Console({ session }) {
  const [route, setRoute] = useState(() => routeOf(location.hash));
  const main = useRef(null);
  useEffect(() => {
    const onChange = () => {
      setRoute(routeOf(location.hash));
      scrollTo(0, 0);
      // A screen reader reads the new page, as after following a link.
      main.current.focus();
    };
    addEventListener('hashchange', onChange);
    return () => removeEventListener('hashchange', onChange);
  }, []);
  const title = route.id !== '' ? route.id : { new: 'New pod', operator: 'Operator', volumes: 'Volumes' }[route.page];
  useEffect(() => {
    document.title = title === undefined ? 'Podgate' : `${title} · Podgate`;
  }, [title]);
  const isPods = route.page === 'pods' || route.page === 'new';
  return html`<header class="top">
      <a class="mark" href="#/pods"
        ><img src="/console/icon.svg" alt="" width="20" height="20" /><span>Podgate</span></a
      >
      <nav aria-label="Main">
        <${NavLink} href="#/pods" current=${isPods}>Pods<//>
        <${NavLink} href="#/volumes" current=${route.page === 'volumes' || route.page === 'snapshots'}>Volumes<//>
        ${session.is_administrator && html`<${NavLink} href="#/operator" current=${route.page === 'operator'}>Operator<//>`}
        <a href="/docs">API</a>
      </nav>
      <span class="who" title="Tenant ${session.tenant}">${session.username}</span>
      <button type="button" class="quiet" onClick=${logOut}>Log out</button>
    </header>
    <main tabindex="-1" ref=${main}><${Page} route=${route} session=${session} /></main>`;
}

function App() {
  const [state, setState] = useState({ kind: 'loading' });
  const open = async () => {
    try {
      setState({ kind: 'open', session: await get('/console/session') });
    } catch (error) {
      if (error.status === 401) setState({ kind: 'login', problem: null });
      else setState({ kind: 'failed', problem: error.message, isPassing: isPassing(error) });
      if (isPassing(error)) setTimeout(open, RETRY_MS);
    }
  };
  useEffect(() => {
    whenSignedOut(() => setState({ kind: 'login', problem: null }));
    const code = /^#login=([\w-]+)$/.exec(location.hash)?.[1];
    if (code !== undefined) {
      // Used or not, it leaves the address bar and the history at once.
      history.replaceState(null, '', '/');
      logIn({ code }).then(open, (error) => setState({ kind: 'login', problem: error.message }));
    } else if (location.hash === '#oauth') {
      history.replaceState(null, '', '/');
      endOauth().then(open, (error) => setState({ kind: 'login', problem: error.message }));
    } else if (location.hash === '#oauth-refused') {
      history.replaceState(null, '', '/');
      setState({ kind: 'login', problem: 'You are not logged in: the login was refused or canceled.' });
    } else if (hasSession()) void open();
    else setState({ kind: 'login', problem: null });
  }, []);
  switch (state.kind) {
    case 'login':
      return html`<${Login} problem=${state.problem} onDone=${open} />`;
    case 'open':
      return html`<${Console} session=${state.session} />`;
    case 'failed':
      return html`<main class="narrow">
        <h1>Podgate</h1>
        <${Problem} text=${state.problem} />
        ${state.isPassing ? html`<${Waiting} />` : html`<button type="button" onClick=${open}>Try again</button>`}
      </main>`;
    default:
      return html`<${Waiting} />`;
  }
}

render(html`<${App} />`, document.getElementById('app'));
