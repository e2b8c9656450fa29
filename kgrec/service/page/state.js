// The state of the page is in the fragment of the address, which browsers do not send: a view can be shared.

const LISTS = ["like", "link"];
const listeners = new Set();
let state = read();

function read() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const found = { view: path || "recommend" };
  for (const [name, value] of new URLSearchParams(query)) {
    if (LISTS.includes(name)) (found[name] ??= []).push(value);
    else found[name] = value;
  }
  return found;
}

function write(given) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(given)) {
    if (name === "view" || value === undefined || value === null || value === "") continue;
    for (const each of [value].flat()) query.append(name, each);
  }
  const text = query.toString();
  return `#/${given.view}${text ? `?${text}` : ""}`;
}

export function getState() {
  return state;
}

// The address of a state.
export function linkTo(view, given = {}) {
  return write({ view, ...given });
}

// Changes some of the state without a new entry in the history; the view has shown it already.
export function note(changes) {
  state = { ...state, ...changes };
  history.replaceState(null, "", write(state));
}

export function onView(listener) {
  listeners.add(listener);
}

addEventListener("hashchange", () => {
  state = read();
  listeners.forEach((listener) => listener(state));
});
