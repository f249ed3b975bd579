// What the pages do with a script; without one, everything works by links and forms.
(() => {
  const root = document.documentElement;
  const prefersDark = matchMedia("(prefers-color-scheme: dark)");

  // The switch between light and dark works at once; the server answers with a cookie.
  const theme = () => root.dataset.theme || (prefersDark.matches ? "dark" : "light");
  addEventListener("submit", (event) => {
    if (!event.target.matches(".theme")) return;
    event.preventDefault();
    event.stopPropagation();
    const field = event.target.querySelector("[name=theme]");
    field.value = root.dataset.theme = theme() === "dark" ? "light" : "dark";
    fetch(event.target.action, { method: "POST", body: new FormData(event.target), redirect: "manual" });
  }, true);

  // Buttons that copy a link say that they did.
  addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    // A browser has the clipboard for pages over HTTPS only; others show the link, to be copied there.
    if (!navigator.clipboard) return void prompt(button.textContent.trim(), button.dataset.copy);
    await navigator.clipboard.writeText(button.dataset.copy);
    announce(button.dataset.copied || "✓");
    button.classList.add("done");
  });

  // A box in the head of a list picks all rows of the page.
  addEventListener("change", (event) => {
    if (!event.target.matches("[data-pick-all]")) return;
    const boxes = event.target.closest("table").querySelectorAll("tbody [name=pick]");
    for (const box of boxes) box.checked = event.target.checked;
    boxes[0]?.dispatchEvent(new Event("change", { bubbles: true }));
  });

  // A list says how many rows are picked.
  addEventListener("change", () => {
    for (const output of document.querySelectorAll("[data-picked]"))
      output.textContent = document.querySelectorAll("tbody [name=pick]:checked").length;
  });

  // Keys on a list: j and k go to another row, and each other key presses the button that names it,
  // of the row, of the picked rows or of the page. The address holds the current row. Approved rows
  // are sent one after the other, so that nobody has to wait for an answer before the next key.
  const ROWS = "[data-keys] tbody > tr[id]";
  const FIELDS = "input:not([type=checkbox]), select, textarea, .answer *";
  const listRows = () => [...document.querySelectorAll(ROWS)];
  const currentRow = () => listRows().find((row) => row.id === current);
  const isSent = (row) => row.id === sent || queue.includes(row.id);
  const queue = [];
  let current = location.hash.slice(1), focus = current && ".person", place = 0, sent = "", settling;

  function select(row, isFocused) {
    for (const other of listRows()) other.removeAttribute("aria-current");
    row.setAttribute("aria-current", "true");
    current = row.id;
    place = listRows().indexOf(row);
    if (focus || location.hash) history.replaceState(history.state, "", `#${current}`);
    if (!isFocused || !focus) return;
    row.querySelector(focus)?.focus({ preventScroll: true });
    row.scrollIntoView({ block: "nearest" });
  }
  function leave(row) {
    row.classList.add("going");
    const rows = listRows().filter((other) => other === row || !isSent(other));
    const index = rows.indexOf(row);
    select(rows[index + 1] || rows[index - 1] || row, true);
  }
  function sendNext() {
    while (!sent && queue.length) {
      const button = document.getElementById(queue[0])?.querySelector("[data-key=a]");
      if (button) sent = queue[0];
      queue.shift();
      button?.click();
    }
  }
  // After each load: the same row is current, or the one that has taken its place.
  function restore() {
    const rows = listRows();
    if (!rows.length) return;
    for (const row of rows) row.classList.toggle("going", isSent(row));
    const given = rows.find((row) => row.hasAttribute("aria-current"));
    const isLost = document.activeElement === document.body;
    select(given || currentRow() || rows[Math.min(place, rows.length - 1)], isLost);
    // A browser leaves the focus alone if the address names a row.
    if (isLost) document.querySelector("[autofocus]")?.focus({ preventScroll: true });
  }
  function press(scope, key) {
    const button = scope?.querySelector(`[data-key="${CSS.escape(key)}"]`);
    button?.click();
    return button;
  }

  addEventListener("keydown", (event) => {
    const { key, target } = event;
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (key === "Escape") press(document, key);
    const rows = listRows(), row = currentRow();
    if (!row || key.length > 1 || key === " " || document.querySelector(".veil") || target.closest(FIELDS)) return;
    const isPicked = key !== "x" && document.querySelector("tbody [name=pick]:checked");
    if (key === "j" || key === "k") {
      focus = ".person";
      select(rows[rows.indexOf(row) + (key === "j" ? 1 : -1)] || row, true);
    } else if (isPicked && press(document.querySelector(".bulk"), key)) {
      focus = ".person";
    } else if (key === "a") {
      if (event.repeat || isSent(row)) return;
      focus = ".person";
      queue.push(row.id);
      leave(row);
      sendNext();
    } else press(row, key) || press(document.querySelector(".notice"), key);
  });
  // A button that was pressed in a row leads to the same button of the next row.
  addEventListener("submit", ({ target, submitter }) => {
    const row = target.closest(ROWS);
    if (target.closest(".answer")) focus = ".person";
    if (!row || isSent(row)) return;
    focus = `[data-key="${submitter?.dataset.key}"]`;
    leave(row);
  }, true);
  // htmx tells this for each part of a page.
  addEventListener("htmx:afterSettle", () => {
    clearTimeout(settling);
    settling = setTimeout(() => {
      sent = "";
      restore();
      sendNext();
    });
  });
  for (const failure of ["htmx:sendError", "htmx:timeout"])
    addEventListener(failure, () => {
      sent = "";
      queue.length = 0;
      restore();
    });
  addEventListener("DOMContentLoaded", restore);

  // The numbers beside a tree follow its ticks.
  addEventListener("change", (event) => {
    if (!event.target.matches(".tree [name=member]")) return;
    const boxes = [...document.querySelectorAll(".tree [name=member]")];
    for (const shown of document.querySelectorAll("[data-count]")) {
      const what = shown.dataset.count;
      const counted = boxes.filter((box) => box.checked !== (what === "spared"));
      shown.textContent = counted.reduce((sum, box) => sum + Number(box.dataset[what] ?? 1), 0);
    }
  });

  // A row of links that scrolls shows the present one.
  for (const loaded of ["DOMContentLoaded", "htmx:afterSettle"])
    addEventListener(loaded, () => {
      for (const link of document.querySelectorAll("nav li > [aria-current]"))
        link.closest("ul").scrollLeft ||= link.offsetLeft - 60;
    });

  // What a page says after it was loaded without a reload is read aloud.
  function announce(text) {
    const announcer = document.getElementById("announcer");
    if (announcer) announcer.textContent = text;
  }
  addEventListener("htmx:afterSettle", () => {
    const said = document.querySelector("#content > [role=alert], #content > [role=status]");
    announce(said ? said.innerText.replace(/\s+/g, " ") : "");
  });
})();
