// This script adjusts Piccolo Admin's page without a fork. It locks fields and hides buttons as the
// table's policy says. With each form it sends the row with which the form was filled, so that the
// server knows which fields a person changed. A list is downloaded as the server writes it.
(() => {
  // The locked fields and the refused actions of each table.
  const policies = {};
  // The path and the row of the open form.
  let shown = null;
  // The query of the last page of each table that was shown.
  const queries = {};
  // The message of the server about the last list or bulk update, if it was refused.
  let refusal = "";

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
    const popup = document.querySelector("#message_popup.error p");
    // The front end says only that there was a problem.
    if (refusal && popup && /^(Problem fetching|Invalid column name)/.test(popup.textContent)) {
      popup.textContent = refusal;
    }
    // A bulk update offers what may be changed.
    for (const option of document.querySelectorAll("select[name=property] option")) {
      if ((policy.locked || []).includes(option.value)) option.hidden = option.disabled = true;
    }
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
    const { pathname, search } = new URL(url, location.href);
    this.directory = { method: method.toUpperCase(), path: pathname, search };
    return open.call(this, method, url, ...rest);
  };

  XMLHttpRequest.prototype.send = function (body) {
    const { method, path, search } = this.directory;
    const [, list] = path.match(/\/api\/tables\/([^/]+)\/$/) || [];
    const [, name, row] = path.match(/\/api\/tables\/([^/]+)\/([^/]+)\/$/) || [];
    const isForm = row && table() === name && location.hash.includes(row);
    if (method === "PATCH" && !isForm) {
      this.addEventListener("load", () => {
        const { detail } = parse(this.responseText) || {};
        refusal = this.status === 422 && Array.isArray(detail) ? detail[0].msg : "";
      });
    }
    if (method === "GET" && list) {
      this.addEventListener("load", () => {
        if (this.status === 200) queries[list] = search;
        const { detail } = (this.status === 400 && parse(this.responseText)) || {};
        refusal = detail || "";
      });
    } else if (method === "GET" && row === "count") {
      this.addEventListener("load", () => {
        const { is_estimate: isEstimate } = parse(this.responseText) || {};
        document.documentElement.classList.toggle("is-estimate", Boolean(isEstimate));
      });
    } else if (method === "GET" && row === "schema") {
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

  // The front end's own download stops at an estimate of the rows and writes formulas as they are.
  addEventListener("submit", (event) => {
    const modal = event.target.closest('[data-uitest="csv_modal"]');
    if (!modal) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    download(modal, table());
  }, true);

  async function download(modal, name) {
    const { visible_column_names: listed, visible_fields_options: readable } = policies[name];
    const isChecked = (column) => modal.querySelector(`#csv_${column}:checked`);
    const columns = [...new Set([...listed, ...readable])].filter(isChecked);
    if (!columns.length) return alert("Please select at least one column.");
    const query = new URLSearchParams(queries[name]);
    for (const parameter of ["__page", "__page_size", "__readable"]) query.delete(parameter);
    // The address of a file can't show a message, so that a problem must be found before.
    const answer = await fetch(`./api/tables/${name}/count/?${query}`).catch(() => null);
    if (!answer || !answer.ok) return alert(await explain(answer));
    query.set("__visible_fields", columns);
    query.set("__delimiter", modal.querySelector("#delimiter").value);
    query.set("__readable", modal.querySelector("#include_readable").checked);
    const link = document.createElement("a");
    link.href = `./api/tables/${name}/csv/?${query}`;
    link.download = "";
    link.click();
    modal.querySelector(".close a").click();
  }

  async function explain(answer) {
    const { detail } = (answer && parse(await answer.text())) || {};
    return detail || "The list can't be downloaded now. Sign in again, or try again in a minute.";
  }

  // Remove the UUID from "Are you sure you want to delete row 0b1c…?", because it means nothing to
  // people.
  const { confirm } = window;
  window.confirm = (question) =>
    confirm.call(window, question.replace(/ row [0-9a-f-]{36}/, " this row"));

  new MutationObserver(apply).observe(document.documentElement, { childList: true, subtree: true });
  addEventListener("hashchange", apply);
})();
