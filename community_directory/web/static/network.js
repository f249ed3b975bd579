// The picture of Network: it is spread out by forces, zoomed, dragged and asked. The server has drawn it on rings.
(() => {
  const network = document.querySelector("[data-network]:not([data-ready])");
  if (!network) return;
  network.dataset.ready = "";
  const pane = network.querySelector(".pane"), svg = pane.querySelector("svg");
  const box = svg.viewBox.baseVal, chosen = network.querySelector(".chosen");
  // Those with most links are drawn last, above the others.
  const nodes = [...svg.querySelectorAll("a")].reverse().map((element) => {
    const { e: x, f: y } = element.transform.baseVal[0].matrix;
    return { element, x, y, radius: parseFloat(element.style.getPropertyValue("--r")) };
  });
  const lines = [...svg.querySelectorAll("line")].map((element) => ({
    element, source: nodes[element.dataset.a], target: nodes[element.dataset.b],
  }));
  const names = nodes.filter(({ element }) => element.classList.contains("named")).length;
  let zoom = 1;

  // All sizes are in pixels of the screen, however large the picture is.
  function scale(factor, x = pane.clientWidth / 2, y = pane.clientHeight / 2) {
    const before = zoom;
    zoom = Math.min(Math.max(zoom * factor, 1), 12);
    svg.style.width = svg.style.height = `${100 * zoom}%`;
    pane.scrollLeft = ((pane.scrollLeft + x) * zoom) / before - x;
    pane.scrollTop = ((pane.scrollTop + y) * zoom) / before - y;
    const shown = Math.min(svg.clientWidth / box.width, svg.clientHeight / box.height);
    network.style.setProperty("--px", 1 / shown);
    nodes.forEach(({ element }, rank) => element.classList.toggle("named", rank < names * zoom * zoom));
  }

  function draw() {
    for (const { element, x, y } of nodes) element.transform.baseVal[0].setTranslate(x, y);
    for (const { element, source, target } of lines) {
      element.setAttribute("x1", source.x);
      element.setAttribute("y1", source.y);
      element.setAttribute("x2", target.x);
      element.setAttribute("y2", target.y);
    }
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
    .force("links", d3.forceLink(lines).distance(Math.min(room * 0.8, 150)))
    .force("apart", d3.forceManyBody().strength(-room).distanceMax(400))
    .force("together-x", d3.forceX().strength(0.04))
    .force("together-y", d3.forceY().strength(0.08))
    .force("room", d3.forceCollide(({ radius }) => radius + 3))
    .force("inside", keepInside)
    .on("tick", draw);
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
    const near = new Set([element]);
    for (const { element: line, source, target } of lines) {
      const isNear = source.element === element || target.element === element;
      line.classList.toggle("near", isNear);
      if (isNear) near.add(source.element).add(target.element);
    }
    for (const node of nodes) node.element.classList.toggle("near", near.has(node.element));
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
