// This script keeps the filters and the order of a list in the address, from which Piccolo Admin
// reads them. By itself it would forget the filters when a list is sorted, and keep the address when
// a list is filtered: a link, a reload and Back would then show other rows.
(() => {
  const LIST = "rowListing";
  const FILTER_FORM = ".filter_wrapper form";
  // What the front end sends with each field, although it changes nothing.
  const USUAL = { __match: "contains", __operator: "e" };

  let store, router;
  // The table to which the schema in the store belongs.
  let schemaTable = null;
  // The form of the filters that shows those of the address, and the names of its fields.
  let filled = null;
  const fields = new Set();
  let isApplying = false;
  let isWriting = false;

  const route = () => router.currentRoute.value;
  const columnOf = (key) => key.replace(/__(match|operator)$/, "");
  const join = (order) => order.map((by) => (by.ascending ? "" : "-") + by.column).join(",");
  const split = (text) => text.split(",").filter(Boolean).map((name) =>
    ({ column: name.replace(/^-/, ""), ascending: !name.startsWith("-") }));

  function filtersOf(query) {
    const { __order, ...filters } = query;
    return filters;
  }

  // Remove the operators of fields that are empty, and those that are meant anyway.
  function shorten(filters) {
    const isNeeded = ([key, value]) => {
      const suffix = key.slice(columnOf(key).length);
      return !suffix || /_null$/.test(value) || (columnOf(key) in filters && value !== USUAL[suffix]);
    };
    return Object.fromEntries(Object.entries(filters).filter(isNeeded));
  }

  // The form does not show every filter, such as one by a member: those stay.
  function addHidden(filters) {
    const hidden = Object.entries(filtersOf(route().query)).filter(([key]) =>
      !fields.has(columnOf(key)) && !(columnOf(key) in filters));
    return { ...Object.fromEntries(hidden), ...filters };
  }

  function write(filters) {
    const order = join(store.state.orderBy || []);
    const query = { ...filters };
    if (order !== join(store.state.schema.extra.order_by)) query.__order = order;
    isWriting = true;
    store.commit("updateFilterParams", filters);
    isWriting = false;
    router.push({ name: LIST, params: route().params, query });
  }

  function read(query) {
    if (schemaTable !== store.state.currentTableName) return;
    const order = query.__order ? split(query.__order) : store.state.schema.extra.order_by;
    store.commit("updateOrderBy", order);
    store.commit("updateCurrentPageNumber", 1);
    filled = null;
  }

  function fill() {
    const form = store && document.querySelector(FILTER_FORM);
    if (!form || form === filled) return;
    filled = form;
    fields.clear();
    for (const field of form.elements) {
      if (!field.name || field.type === "hidden") continue;
      fields.add(columnOf(field.name));
      const value = route().query[field.name];
      if (value === undefined || field.value === value) continue;
      field.value = value;
      for (const kind of ["input", "change"]) field.dispatchEvent(new Event(kind, { bubbles: true }));
    }
  }

  addEventListener("submit", (event) => { isApplying = event.target.matches(FILTER_FORM); }, true);

  addEventListener("DOMContentLoaded", () => {
    const app = document.querySelector("#app").__vue_app__;
    ({ $store: store, $router: router } = app.config.globalProperties);
    const { replace } = router;
    // The order that is chosen replaces the address; the filters stay in it.
    router.replace = (to) => replace.call(router, to.name === LIST && to.query
      ? { ...to, query: { ...filtersOf(route().query), ...to.query } } : to);
    store.subscribe(({ type, payload }) => {
      if (type === "updateSchema") schemaTable = store.state.currentTableName;
      if (type !== "updateFilterParams" || isWriting || route().name !== LIST) return;
      if (payload === route().query) return read(payload);
      const filters = shorten(payload);
      write(isApplying ? addHidden(filters) : filters);
      isApplying = false;
    });
    new MutationObserver(fill).observe(app._container, { childList: true, subtree: true });
  });
})();
