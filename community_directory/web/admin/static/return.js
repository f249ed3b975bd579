// In the panel: who was sent from Insights to sign in comes back. The front end goes on to a route that it doesn't have.
const change = history.pushState;
history.pushState = function (state, title, url) {
  const wanted = /#(\/insights\/(?:tree\/(?:\d+\/)?)?)$/.exec(String(url));
  if (wanted) location.replace(new URL(`.${wanted[1]}`, location.href.split("#")[0]));
  else change.call(this, state, title, url);
};
