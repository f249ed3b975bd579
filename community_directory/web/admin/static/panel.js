// Small adjustments of Piccolo Admin's page, without a fork: locked fields, buttons that would be refused, and what a
// form was filled with, which goes back with it, so that the server knows what a person changed.
(() => {
  const described = {}; // what the server says of each table
  let filled = null; // the row that the open form shows: its path and its JSON text

  const table = () => (location.hash.match(/^#\/([a-z_]+)/) || [])[1];
  const parse = (text) => { try { return JSON.parse(text); } catch { return null; } };

  function apply() {
    const extra = described[table()] || {};
    for (const word of ["add", "edit", "delete"]) {
      document.documentElement.classList.toggle(`refuse-${word}`, (extra.refused || []).includes(word));
    }
    lock('[data-uitest="save_button"]', extra.locked || []);
    lock('[data-uitest="create_button"]', extra.locked_when_new || []);
  }

  function lock(button, names) {
    const form = document.querySelector(`form:has(${button})`);
    for (const name of form ? names : []) {
      const field = form.querySelector(`[name="${name}"]`);
      if (!field || field.disabled) continue;
      field.disabled = true; // the form leaves it out
      const box = field.parentElement;
      box.classList.add("directory-locked");
      for (const input of box.querySelectorAll("input, select, textarea, button")) input.disabled = true;
    }
  }

  const { open, send } = XMLHttpRequest.prototype;

  XMLHttpRequest.prototype.open = function (method, url, ...rest) {
    this.directory = { method: method.toUpperCase(), path: new URL(url, location.href).pathname };
    return open.call(this, method, url, ...rest);
  };

  XMLHttpRequest.prototype.send = function (body) {
    const { method, path } = this.directory;
    const [, name, row] = path.match(/\/api\/tables\/([^/]+)\/([^/]+)\/$/) || [];
    const isForm = row && table() === name && location.hash.includes(row);
    if (method === "GET" && row === "schema") {
      this.addEventListener("load", () => { described[name] = (parse(this.responseText) || {}).extra; apply(); });
    } else if (isForm && (method === "GET" || method === "PATCH")) {
      if (method === "PATCH" && filled && filled.path === path) {
        body = JSON.stringify({ ...JSON.parse(body), __seen: filled.row });
      }
      this.addEventListener("load", () => { if (this.status === 200) filled = { path, row: parse(this.responseText) }; });
    }
    return send.call(this, body);
  };

  // "Are you sure you want to delete row 0b1c…?": nobody knows a row by its UUID.
  const { confirm } = window;
  window.confirm = (question) => confirm.call(window, question.replace(/ row [0-9a-f-]{36}/, " this row"));

  new MutationObserver(apply).observe(document.documentElement, { childList: true, subtree: true });
  addEventListener("hashchange", apply);
})();
