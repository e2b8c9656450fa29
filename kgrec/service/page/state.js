// The state of the page is in the fragment of the address, which browsers do not send: a view can be shared.
// Who the user is stays out of it: an id is kept with the entry of the history, which no address has.

const LISTS = ["like", "link"];
const PRIVATE = "user";
const listeners = new Set();
let state = read();

function read() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const found = { view: path || "recommend" };
  for (const [name, value] of new URLSearchParams(query)) {
    if (LISTS.includes(name)) (found[name] ??= []).push(value);
    else found[name] = value;
  }
  const kept = history.state?.[PRIVATE];
  return kept ? { ...found, [PRIVATE]: kept } : found;
}

function write(given) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(given)) {
    if (name === "view" || name === PRIVATE || value === undefined || value === null || value === "") continue;
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
  history.replaceState({ [PRIVATE]: state[PRIVATE] }, "", write(state));
}

// Opens a view; unlike the address of a link, it may say who the user is.
export function go(view, given) {
  history.pushState({ [PRIVATE]: given[PRIVATE] }, "", linkTo(view, given));
  follow();
}

export function onView(listener) {
  listeners.add(listener);
}

function follow() {
  state = read();
  listeners.forEach((listener) => listener(state));
}

addEventListener("hashchange", follow);
