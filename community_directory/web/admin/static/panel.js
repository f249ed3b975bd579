// This script adjusts Piccolo Admin's page without a fork. It locks fields and hides buttons as the
// table's policy says. With each form it sends the row with which the form was filled, so that the
// server knows which fields a person changed.
(() => {
  // The locked fields and the refused actions of each table.
  const policies = {};
  // The path and the row of the open form.
  let shown = null;

  const table = () => (location.hash.match(/^#\/([a-z_]+)/) || [])[1];
  const parse = (text) => { try { return JSON.parse(text); } catch { return null; } };

  function apply() {
    const policy = policies[table()] || {};
    for (const action of ["add", "edit", "delete"]) {
      const isRefused = (policy.refused || []).includes(action);
      document.documentElement.classList.toggle(`refuse-${action}`, isRefused);
    }
    lock('[data-uitest="save_button"]', policy.locked || []);
    lock('[data-uitest="create_button"]', policy.locked_when_new || []);
  }

  function lock(button, names) {
    const form = document.querySelector(`form:has(${button})`);
    for (const name of form ? names : []) {
      const field = form.querySelector(`[name="${name}"]`);
      if (!field || field.disabled) continue;
      // A form does not send disabled fields.
      field.disabled = true;
      const box = field.parentElement;
      box.classList.add("directory-locked");
      const inputs = box.querySelectorAll("input, select, textarea, button");
      for (const input of inputs) input.disabled = true;
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
      this.addEventListener("load", () => {
        policies[name] = (parse(this.responseText) || {}).extra;
        apply();
      });
    } else if (isForm && (method === "GET" || method === "PATCH")) {
      if (method === "PATCH" && shown && shown.path === path) {
        body = JSON.stringify({ ...JSON.parse(body), __seen: shown.row });
      }
      this.addEventListener("load", () => {
        if (this.status === 200) shown = { path, row: parse(this.responseText) };
      });
    }
    return send.call(this, body);
  };

  // Remove the UUID from "Are you sure you want to delete row 0b1c…?", because it means nothing to
  // people.
  const { confirm } = window;
  window.confirm = (question) =>
    confirm.call(window, question.replace(/ row [0-9a-f-]{36}/, " this row"));

  new MutationObserver(apply).observe(document.documentElement, { childList: true, subtree: true });
  addEventListener("hashchange", apply);
})();
