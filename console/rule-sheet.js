/**
 * What xterm.js makes in place of a <style> (control/resources/console/console-pages.ts): the Content-Security-Policy allows
 * no inline styles, but rules that a script makes.
 */
class RuleSheet extends HTMLElement {
  #sheet = new CSSStyleSheet();

  set textContent(rules) {
    this.#sheet.replaceSync(rules);
  }

  connectedCallback() {
    document.adoptedStyleSheets = [...document.adoptedStyleSheets, this.#sheet];
  }

  disconnectedCallback() {
    document.adoptedStyleSheets = document.adoptedStyleSheets.filter((each) => each !== this.#sheet);
  }
}

customElements.define('podgate-rules', RuleSheet);
