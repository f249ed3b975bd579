// This script shows the server's message after a failed sign-in. Piccolo Admin itself only shows
// "Problem logging in", for three seconds.
(() => {
  const open = XMLHttpRequest.prototype.open;

  function show(request) {
    const inner = document.querySelector("#login .inner");
    if (!inner) return;
    let message = inner.querySelector("[role=alert]");
    if (!message) {
      message = inner.appendChild(document.createElement("p"));
      message.setAttribute("role", "alert");
    }
    try {
      message.textContent = request.status === 200 ? "" : JSON.parse(request.responseText).detail;
    } catch {
      message.textContent = "The server sent an unexpected response. Try again in a moment.";
    }
  }

  XMLHttpRequest.prototype.open = function (method, url, ...rest) {
    if (String(url).endsWith("public/login/")) this.addEventListener("loadend", () => show(this));
    return open.call(this, method, url, ...rest);
  };
})();
