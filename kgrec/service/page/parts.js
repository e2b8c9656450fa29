// Parts that several views share: problems, empty states, dialogs, chips, dials, names.

import { ask, latestOnly, ServiceError } from "/page/api.js";
import { h, makeId } from "/page/dom.js";

const RETRY_MS = 4000;
const AWAY = [0, 502, 503, 504]; // nothing answers, or what is before the service, or it is not ready
const names = new Map(); // id of an item -> its title, or null

export function titleOf(item) {
  return item.title || item.name || item.id || item.item;
}

export function keepName(id, title) {
  if (title || !names.has(id)) names.set(id, title ?? null);
}

export function nameOf(id) {
  return names.get(id) || id;
}

// Learns the names of items from their ids; ids that the catalogue does not have stay without.
export async function learnNames(ids) {
  const missing = ids.filter((id) => !names.has(id)).slice(0, 200);
  if (!missing.length) return;
  const { items } = await ask("/search", { items: missing });
  items.forEach((each) => keepName(each.item, each.title));
}

export function makeFind(link) {
  const latest = latestOnly();
  return async (text) => {
    const answer = await latest("/search", { text: text.slice(0, 200), k: 8, ...(link ? { link: link() } : {}) });
    return answer && answer.items.map((each) => {
      if (!link) keepName(each.item, each.title);
      return { id: each.item, title: each.title || each.item, note: each.title ? each.item : "" };
    });
  };
}

export function showProblem(error) {
  if (!(error instanceof ServiceError)) console.error(error);
  const sentences = error instanceof ServiceError ? error.sentences : [String(error.message ?? error)];
  return h("div", { class: "notice bad", role: "alert" }, h("strong", null, error instanceof ServiceError ? error.message : "The page made a mistake"),
    ...sentences.map((text) => h("p", null, text)));
}

// Says what went wrong in the place of what it concerns; where the service is away, it asks again by itself.
export function tell(holder, error, again) {
  if (isAway(error)) return tellAway(holder, error, again);
  const unknown = error instanceof ServiceError && /unknown user (['"])(.*?)\1/i.exec(`${error.message} ${error.problem.got ?? ""} ${error.problem.detail ?? ""}`);
  return holder.replaceChildren(unknown ? empty(`There is no user “${unknown[2]}”`, "Check the id, or leave the field empty.") : showProblem(error));
}

export function isAway(error) {
  return error instanceof ServiceError && AWAY.includes(error.status);
}

function tellAway(holder, error, again) {
  let notice = holder.querySelector(":scope > .away");
  if (!notice) { // said once, however often it is tried
    notice = h("div", { class: "notice bad away", role: "alert" }, h("strong", null, error.message),
      ...error.sentences.map((text) => h("p", null, text)), h("p", null, "It is tried again every few seconds."), h("button", { type: "button", onclick: () => again() }, "Try again"));
    holder.replaceChildren(notice);
  }
  clearTimeout(Number(notice.dataset.timer));
  notice.dataset.timer = String(setTimeout(() => notice.isConnected && again(), RETRY_MS));
}

export function showNotes(notes) {
  return notes.length ? h("ul", { class: "notes" }, ...notes.map((text) => h("li", null, text))) : null;
}

export function empty(title, text) {
  return h("div", { class: "empty" }, h("p", { class: "empty-title" }, title), text ? h("p", null, text) : null);
}

// Lines in the place of what is being loaded.
export function skeleton(lines) {
  return h("div", { class: "skeleton", "aria-hidden": "true" }, ...Array.from({ length: lines }, () => h("div", { class: "skeleton-line" })));
}

// Removable chips; what is removed gives the focus to its neighbour, the last one to the field.
export function chips({ label, onremove, field }) {
  const list = h("ul", { class: "chips", "aria-label": label });
  return {
    element: list,
    show(entries) {
      const held = document.activeElement?.closest?.(".chips") === list ? [...list.children].indexOf(document.activeElement.closest("li")) : -1;
      list.replaceChildren(...entries.map(({ id, title, note }) =>
        h("li", { class: "chip", "data-id": id }, h("span", { class: "chip-text", title }, note ? h("span", { class: "chip-note" }, note) : null, title),
          h("button", { type: "button", class: "chip-remove", "aria-label": `Remove ${title}`, onclick: () => onremove(id) }, "×"))));
      list.hidden = !entries.length;
      if (held >= 0) (list.querySelectorAll("button")[Math.min(held, entries.length - 1)] ?? field()).focus();
    },
  };
}

// A slider with words at its ends.
export function dial({ label, min, max, step, value, low, high, oninput }) {
  const id = makeId("dial");
  const output = h("output", { for: id });
  const input = h("input", { type: "range", id, min, max, step, value });
  const show = () => {
    const at = Number(input.value);
    output.textContent = at === 0 ? "off" : (min < 0 && at > 0 ? "+" : "") + at.toFixed(2).replace(/0$/, "");
    input.style.setProperty("--filled", `${(100 * (at - min)) / (max - min)}%`);
    input.style.setProperty("--from", `${(100 * (0 - min)) / (max - min)}%`);
    input.setAttribute("aria-valuetext", at === 0 ? "off" : `${output.textContent}, towards ${at > 0 ? high : low}`);
  };
  input.addEventListener("input", () => {
    show();
    oninput(Number(input.value));
  });
  input.addEventListener("dblclick", () => {
    input.value = "0";
    input.dispatchEvent(new Event("input"));
  });
  show();
  return {
    element: h("div", { class: "dial" }, h("div", { class: "dial-head" }, h("label", { for: id }, label), output), input,
      h("div", { class: "dial-ends", "aria-hidden": "true" }, h("span", null, low), h("span", null, high))),
    get value() {
      return Number(input.value);
    },
  };
}

export function segments({ label, options, value, onchange }) {
  const name = makeId("segments");
  return h("fieldset", { class: "segments" }, h("legend", { class: "visually-hidden" }, label),
    ...options.map(([key, text]) => {
      const input = h("input", { type: "radio", name, value: key, id: `${name}-${key}`, onchange: () => onchange(key) });
      input.checked = key === value;
      return h("span", { class: "segment" }, input, h("label", { for: input.id }, text));
    }));
}

// Opens a dialog; resolves to what `close` is called with, or null.
export function openDialog(title, build) {
  return new Promise((resolve) => {
    const heading = h("h2", { id: makeId("dialog") }, title);
    const dialog = h("dialog", { "aria-labelledby": heading.id });
    const close = (value) => {
      dialog.returnValue = "";
      dialog.close();
      resolve(value ?? null);
    };
    dialog.append(heading, ...build(close));
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(null);
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}
