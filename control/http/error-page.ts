import { escapeHtml } from '../../core/escape-html.ts';
import type { Envelope } from './envelope.ts';

/** What went wrong, for somebody whose browser was sent here. Its style is the console's. */
export function errorPage({ message }: Envelope, requestId: string): string {
  const sentences = typeof message === 'string' ? [message] : message;
  return `<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <meta name="color-scheme" content="light dark">
    <title>Podgate</title>
    <link rel="icon" href="/console/icon.svg" type="image/svg+xml">
    <link rel="stylesheet" href="/console/style.css">
  </head>
  <body>
    <main class="narrow">
      <h1>Podgate</h1>
      <div class="problem" role="alert">${sentences.map((each) => `<p>${escapeHtml(each)}</p>`).join('')}</div>
      <p><a href="/">Back to the login</a></p>
      <p class="hint">Request <code>${escapeHtml(requestId)}</code></p>
    </main>
  </body>
</html>
`;
}
