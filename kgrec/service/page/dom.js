// Builds elements. Texts become text nodes, never markup: a title with HTML in it is shown as it is.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value") element.value = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export function h(tag, attributes, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

let counted = 0;

// An id that no other element has, for labels and ARIA.
export function makeId(prefix) {
  counted += 1;
  return `${prefix}-${counted}`;
}

// Says something to people who do not see the page.
export function announce(text) {
  document.getElementById("live").textContent = text;
}

export function debounce(wait, act) {
  let timer = 0;
  return (...given) => {
    clearTimeout(timer);
    timer = setTimeout(() => act(...given), wait);
  };
}

export function formatNumber(value) {
  return value.toLocaleString("en");
}

export function formatTime(seconds) {
  return seconds ? new Date(seconds * 1000).toLocaleString("en", { dateStyle: "medium", timeStyle: "short" }) : "never";
}

export function formatAgo(seconds) {
  const passed = Date.now() / 1000 - seconds;
  for (const [unit, size] of [["day", 86400], ["hour", 3600], ["minute", 60]]) {
    if (passed >= size) return new Intl.RelativeTimeFormat("en").format(-Math.floor(passed / size), unit);
  }
  return "just now";
}

export function count(n, what) {
  const many = what.endsWith("y") ? `${what.slice(0, -1)}ies` : `${what}s`;
  return `${formatNumber(n)} ${n === 1 ? what : many}`;
}

// A field with its label, and a hint under it.
export function labelled(text, control, hint) {
  control.id ||= makeId("field");
  const described = hint ? h("p", { class: "hint", id: `${control.id}-hint` }, hint) : null;
  if (described) control.setAttribute("aria-describedby", described.id);
  return h("div", { class: "field" }, h("label", { for: control.id }, text), control, described);
}
