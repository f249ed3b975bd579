// The picture of Network: it is spread out by forces, zoomed, dragged and asked. The server has drawn it on rings.
(() => {
  const network = document.querySelector("[data-network]:not([data-ready])");
  if (!network) return;
  network.dataset.ready = "";
  const pane = network.querySelector(".pane"), svg = pane.querySelector("svg");
  const box = svg.viewBox.baseVal, chosen = network.querySelector(".chosen");
  const pen = document.createElement("canvas").getContext("2d");
  pen.font = `12px ${getComputedStyle(network).fontFamily}`;
  const measure = (text) => pen.measureText(text.textContent).width;
  // Those with most links are drawn last, above the others.
  const nodes = [...svg.querySelectorAll("a")].reverse().map((element) => {
    const { e: x, f: y } = element.transform.baseVal[0].matrix;
    const text = element.querySelector("text");
    return { element, x, y, radius: parseFloat(element.style.getPropertyValue("--r")), width: measure(text) };
  });
  // All links of one width are one path: a browser draws few paths faster than many lines.
  const paths = [...svg.querySelectorAll("[data-ends]")].map((element) => ({
    element,
    links: element.dataset.ends.split(" ").map((ends) => {
      const [source, target] = ends.split("-").map((place) => nodes[place]);
      return { source, target };
    }),
  }));
  const links = paths.flatMap((path) => path.links);
  const near = { element: svg.querySelector("path.near"), links: [] };
  const names = nodes.filter(({ element }) => element.classList.contains("named")).length;
  const first = nodes.filter(({ element }) => element.classList.contains("here"));
  let zoom = 1, limit = names, dot = 1;

  // All sizes are in pixels of the screen, however large the picture is.
  function scale(factor, x = pane.clientWidth / 2, y = pane.clientHeight / 2) {
    const before = zoom;
    zoom = Math.min(Math.max(zoom * factor, 1), 12);
    svg.style.width = svg.style.height = `${100 * zoom}%`;
    pane.scrollLeft = ((pane.scrollLeft + x) * zoom) / before - x;
    pane.scrollTop = ((pane.scrollTop + y) * zoom) / before - y;
    const shown = Math.min(svg.clientWidth / box.width, svg.clientHeight / box.height);
    network.style.setProperty("--px", 1 / shown);
    // A larger picture has room for more names.
    dot = parseFloat(getComputedStyle(network).getPropertyValue("--dot"));
    limit = Math.max(6, names * (svg.clientWidth / box.width) ** 2);
    showNames();
  }
  // Names that would cover another one are left out: those with most links come first.
  function showNames() {
    const px = parseFloat(network.style.getPropertyValue("--px")) || 1, shown = [];
    for (const node of new Set([...first, ...nodes])) {
      const { element, x, radius, width } = node, y = node.y + radius * dot * px;
      const isFree = shown.length < limit && !shown.some((other) =>
        Math.abs(other.x - x) < ((other.width + width) / 2 + 4) * px && Math.abs(other.y - y) < 16 * px);
      element.classList.toggle("named", isFree);
      if (isFree) shown.push({ x, y, width });
    }
  }

  function draw() {
    for (const { element, x, y } of nodes) element.transform.baseVal[0].setTranslate(x, y);
    for (const { element, links } of [...paths, near]) element.setAttribute("d", links.map(trace).join(""));
    showNames();
  }
  function trace({ source, target }) {
    return `M${source.x.toFixed(1)} ${source.y.toFixed(1)}L${target.x.toFixed(1)} ${target.y.toFixed(1)}`;
  }
  function keepInside() {
    for (const node of nodes) {
      node.x = Math.min(Math.max(node.x, box.x + 30), box.x + box.width - 30);
      node.y = Math.min(Math.max(node.y, box.y + 30), box.y + box.height - 30);
    }
  }
  // What is dragged stays where it is put, and the others give way.
  const room = Math.sqrt((box.width * box.height) / nodes.length);
  const simulation = d3.forceSimulation(nodes)
    .force("links", d3.forceLink(links).distance(({ source, target }) =>
      Math.min(room * 0.8, 150) + source.radius + target.radius))
    .force("apart", d3.forceManyBody().strength(({ radius }) => -room - 0.7 * radius ** 2).distanceMax(500))
    .force("together-x", d3.forceX().strength(0.04))
    .force("together-y", d3.forceY().strength(0.08))
    .force("room", d3.forceCollide(({ radius }) => radius + 4))
    .force("inside", keepInside)
    .on("tick", () => {
      // A frame has several steps, because to draw takes longer than to compute.
      const end = performance.now() + 12;
      while (simulation.alpha() > simulation.alphaMin() && performance.now() < end) simulation.tick();
      draw();
    });
  const middle = nodes.find(({ element }) => element.classList.contains("here"));
  if (middle) middle.fx = middle.fy = 0;
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) {
    simulation.stop().tick(300);
    draw();
  }

  // A drag moves a node, or else the picture; without a drag, a node is chosen.
  let drag = null;
  const place = ({ clientX, clientY }) =>
    new DOMPoint(clientX, clientY).matrixTransform(svg.getScreenCTM().inverse());
  svg.addEventListener("dragstart", (event) => event.preventDefault());
  svg.addEventListener("pointerdown", (event) => {
    if (event.button || event.pointerType === "touch") return;
    const element = event.target.closest("a");
    drag = { node: nodes.find((node) => node.element === element), x: event.clientX, y: event.clientY, isMoved: false };
  });
  svg.addEventListener("pointermove", (event) => {
    if (!drag || !event.buttons) return;
    drag.isMoved ||= Math.hypot(event.clientX - drag.x, event.clientY - drag.y) > 4;
    if (!drag.isMoved) return;
    if (!drag.node) {
      pane.scrollBy(-event.movementX, -event.movementY);
      return;
    }
    const { x, y } = place(event);
    Object.assign(drag.node, { x, y, fx: x, fy: y });
    simulation.alpha(0.2).restart();
  });
  svg.addEventListener("click", (event) => {
    const element = event.target.closest("a"), isMoved = drag?.isMoved;
    drag = null;
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    if (!isMoved) choose(element);
  });
  function choose(element) {
    near.links = links.filter(({ source, target }) => source.element === element || target.element === element);
    const shown = new Set(near.links.flatMap(({ source, target }) => [source, target]));
    for (const node of nodes) node.element.classList.toggle("near", shown.has(node));
    draw();
    chosen.hidden = !element;
    if (!element) return;
    chosen.querySelector("bdi").textContent = element.querySelector("title").textContent;
    const [walk, people] = chosen.querySelectorAll("a");
    walk.href = element.href.baseVal;
    people.href = element.dataset.people;
    walk.focus({ preventScroll: true });
  }

  network.prepend(network.querySelector("template").content);
  for (const button of network.querySelectorAll("[data-zoom]"))
    button.addEventListener("click", () => scale(Number(button.dataset.zoom)));
  // A pinch on a touchpad is a wheel with Ctrl; a wheel without it scrolls the page.
  pane.addEventListener("wheel", (event) => {
    if (!event.ctrlKey) return;
    event.preventDefault();
    const { left, top } = pane.getBoundingClientRect();
    scale(Math.exp(-event.deltaY / 200), event.clientX - left, event.clientY - top);
  }, { passive: false });
  new ResizeObserver(() => scale(1)).observe(pane);
})();
