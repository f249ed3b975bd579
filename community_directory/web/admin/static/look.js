// This script gives Piccolo Admin the theme, the language, the time zone and the sign-in page of the
// workspace, and names to its buttons and fields.
(() => {
  const YEAR = 365 * 24 * 60 * 60;
  // The names of buttons that show only an icon, by the icon.
  const ICONS = {
    "angle-left": "Previous page", "angle-right": "Next page", "caret-up": "Sort", "caret-down": "Sort",
    "ellipsis-v": "Actions", language: "Language", times: "Close",
  };

  const cookie = (name) => (document.cookie.match(`(?:^|; )${name}=([^;]*)`) || [])[1];
  const prefersDark = matchMedia("(prefers-color-scheme: dark)").matches;
  const isDark = (cookie("theme") || (prefersDark ? "dark" : "light")) === "dark";

  // The front end reads these when it starts.
  localStorage.darkMode = isDark;
  document.documentElement.dataset.theme = isDark ? "dark" : "light";
  localStorage.defaultTimezone = document.querySelector("meta[name=time-zone]").content;
  if (cookie("language")) localStorage.piccoloAdminDefaultLanguage = cookie("language");

  function keepTheme({ type, payload }) {
    if (type !== "updateDarkMode") return;
    document.documentElement.dataset.theme = payload ? "dark" : "light";
    document.cookie = `theme=${payload ? "dark" : "light"}; path=/; max-age=${YEAR}; samesite=lax`;
  }

  // Sign in on the page of the workspace, and come back to the same list.
  function leaveSignIn() {
    if (!location.hash.startsWith("#/login")) return;
    const list = (history.state && history.state.back) || "/";
    location.replace(`../sign-in/?next=${encodeURIComponent(`/admin/#${list}`)}`);
  }

  // The parts of the page, as screen readers find them.
  const LANDMARKS = {
    "#nav": "banner", ".sidebar": "navigation", ".left_column": "main", ".welcome": "main",
    "#app .inner": "main", ".right_column": "complementary",
  };

  function addNames() {
    for (const [place, role] of Object.entries(LANDMARKS)) {
      document.querySelector(place)?.setAttribute("role", role);
    }
    for (const head of document.querySelectorAll("thead th:empty")) head.setAttribute("role", "cell");
    for (const icon of document.querySelectorAll("a > svg[data-icon], button > svg[data-icon]")) {
      const button = icon.parentElement;
      if (button.textContent.trim() || button.hasAttribute("aria-label")) continue;
      const { icon: name } = icon.dataset;
      button.setAttribute("aria-label", ICONS[name] || button.title || name.replace(/-/g, " "));
    }
    for (const field of document.querySelectorAll("#app input, #app select, #app textarea")) {
      if (field.type !== "hidden" && !field.labels?.length) nameField(field);
    }
  }

  function nameField(field) {
    const name = describe(field);
    if (name && field.getAttribute("aria-label") !== name) field.setAttribute("aria-label", name);
  }

  // A label stands before its field, or before the element that has it.
  function describe(field) {
    const column = field.closest("td, th");
    if (column) return field.closest("thead") ? "All rows" : `Row ${column.parentElement.rowIndex}`;
    for (let at = field; at && at.id !== "app" && at.tagName !== "FORM"; at = at.parentElement) {
      for (let before = at.previousElementSibling; before; before = before.previousElementSibling) {
        if (before.matches("label, p")) return before.textContent.trim();
      }
    }
    return field.placeholder || field.title || field.name || { number: "Page", "select-one": "Rows" }[field.type];
  }

  addEventListener("DOMContentLoaded", () => {
    const app = document.querySelector("#app").__vue_app__;
    app.config.globalProperties.$store.subscribe(keepTheme);
    const apply = () => { leaveSignIn(); addNames(); };
    new MutationObserver(apply).observe(app._container, { childList: true, subtree: true });
    apply();
  });
})();
