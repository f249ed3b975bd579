// This script returns to Insights after the sign-in. The front end would look for the page among
// its own routes, and not find it.
const pushState = history.pushState;
history.pushState = function (state, title, url) {
  const page = /#(\/insights\/(?:health\/|tree\/(?:\d+\/)?)?)$/.exec(String(url));
  if (page) location.replace(new URL(`.${page[1]}`, location.href.split("#")[0]));
  else pushState.call(this, state, title, url);
};
