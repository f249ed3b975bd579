// Piccolo Admin says "Problem logging in", for three seconds, whatever the server said: keep the server's sentence.
(() => {
  const open = XMLHttpRequest.prototype.open;

  function show(request) {
    const inner = document.querySelector("#login .inner");
    if (!inner) return;
    let said = inner.querySelector("[role=alert]");
    if (!said) {
      said = inner.appendChild(document.createElement("p"));
      said.setAttribute("role", "alert");
    }
    try {
      said.textContent = request.status === 200 ? "" : JSON.parse(request.responseText).detail;
    } catch {
      said.textContent = "The server does not answer as it should: try again in a moment.";
    }
  }

  XMLHttpRequest.prototype.open = function (method, url, ...rest) {
    if (String(url).endsWith("public/login/")) this.addEventListener("loadend", () => show(this));
    return open.call(this, method, url, ...rest);
  };
})();
