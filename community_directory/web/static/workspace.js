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

  // What a page says after it was loaded without a reload is read aloud.
  function announce(text) {
    const announcer = document.getElementById("announcer");
    if (announcer) announcer.textContent = text;
  }
  addEventListener("htmx:afterSettle", () => {
    const said = document.querySelector("#content > [role=alert], #content > [role=status]");
    announce(said ? said.textContent.trim() : "");
  });
})();
