// This script shows the server's message after a failed sign-in. Piccolo Admin itself only shows
// "Problem logging in", for three seconds. It also adds the fields for a new password when the
// server asks for one, because somebody else has set the present one. And it returns to Insights
// after the sign-in: the front end would look for the page among its own routes, and not find it.
(() => {
  const { open, send } = XMLHttpRequest.prototype;
  const parse = (text) => { try { return JSON.parse(text); } catch { return {}; } };

  function say(text) {
    const inner = document.querySelector("#login .inner");
    if (!inner) return;
    let message = inner.querySelector("[role=alert]");
    if (!message) {
      message = inner.appendChild(document.createElement("p"));
      message.setAttribute("role", "alert");
    }
    message.textContent = text;
  }

  function show(request) {
    const unexpected = "The server sent an unexpected response. Try again in a moment.";
    const { detail = unexpected, code } = parse(request.responseText);
    say(request.status === 200 ? "" : detail);
    if (code === "new_password_required" && !newPassword()) askForNewPassword();
  }

  const newPassword = () => document.querySelector("#login [name=new_password]");

  function askForNewPassword() {
    const button = document.querySelector('#login [data-uitest="login_button"]');
    if (!button) return;
    const first = addField(button, "new_password", "New password");
    const again = addField(button, "new_password_again", "The new password again");
    const compare = () =>
      again.setCustomValidity(again.value === first.value ? "" : "Type the same password twice.");
    first.addEventListener("input", compare);
    again.addEventListener("input", compare);
    first.focus();
  }

  function addField(button, name, text) {
    const label = document.createElement("label");
    const input = document.createElement("input");
    Object.assign(input, { id: name, name, type: "password", required: true });
    input.autocomplete = "new-password";
    label.htmlFor = name;
    label.textContent = text;
    button.before(label, input);
    return input;
  }

  function returnToInsights(event) {
    const next = new URLSearchParams(location.hash.split("?")[1]).get("nextURL");
    if (event.target.status !== 200 || !/^\/insights\/[\w/]*$/.test(next)) return;
    // The front end must not learn of the response: what it does then can stop the browser.
    event.stopImmediatePropagation();
    location.replace(new URL(`..${next}`, location.href.split("#")[0]));
  }

  XMLHttpRequest.prototype.open = function (method, url, ...rest) {
    this.isSignIn = String(url).endsWith("public/login/");
    if (this.isSignIn) {
      this.addEventListener("loadend", () => show(this));
      this.addEventListener("loadend", returnToInsights);
    }
    return open.call(this, method, url, ...rest);
  };

  XMLHttpRequest.prototype.send = function (body) {
    if (this.isSignIn) {
      if (newPassword()) {
        body = JSON.stringify({ ...JSON.parse(body), new_password: newPassword().value });
      }
      const text = "Please wait. Too many sign-ins have failed, so the next ones take longer.";
      const waiting = setTimeout(say, 2000, text);
      this.addEventListener("loadend", () => clearTimeout(waiting));
    }
    return send.call(this, body);
  };
})();
