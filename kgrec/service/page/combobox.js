// A text field with suggestions, as the ARIA pattern of a combobox with a list box has it.

import { announce, debounce, h, makeId } from "/page/dom.js";

// options.find: text -> a promise of [{ id, title, note }], or null where a newer question is asked.
// options.choose: called with what was chosen; the field is emptied unless it returns its new text.
export function combobox({ label, placeholder, find, choose, hint, small }) {
  const listId = makeId("options");
  const list = h("ul", { role: "listbox", id: listId, class: "options", "aria-label": "Suggestions", hidden: true });
  const input = h("input", {
    type: "text", role: "combobox", autocomplete: "off", spellcheck: "false", placeholder, id: makeId("search"),
    "aria-autocomplete": "list", "aria-expanded": "false", "aria-controls": listId, class: "search-input",
  });
  const box = h("div", { class: `combobox${small ? " small" : ""}` },
    h("label", { for: input.id }, label), h("div", { class: "combobox-field" }, input, list), hint ? h("p", { class: "hint" }, hint) : null);
  let found = [];
  let active = -1;

  function close() {
    list.hidden = true;
    active = -1;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  }

  function mark(place) {
    active = place;
    [...list.children].forEach((option, at) => option.setAttribute("aria-selected", String(at === place)));
    const option = list.children[place];
    if (!option) return input.removeAttribute("aria-activedescendant");
    input.setAttribute("aria-activedescendant", option.id);
    option.scrollIntoView({ block: "nearest" });
  }

  function take(place) {
    const chosen = found[place];
    close();
    if (chosen) input.value = choose(chosen) ?? "";
  }

  function show(text) {
    list.replaceChildren(...found.map((each, place) =>
      h("li", { role: "option", id: `${listId}-${place}`, "aria-selected": "false", onmousedown: (event) => event.preventDefault(), onclick: () => take(place) },
        h("span", { class: "option-title" }, each.title), h("span", { class: "option-note" }, each.note))));
    if (!found.length) list.append(h("li", { class: "no-option", role: "option", "aria-disabled": "true" }, `Nothing matches “${text}”`));
    list.hidden = false;
    input.setAttribute("aria-expanded", "true");
    announce(found.length ? `${found.length} suggestions` : "No suggestions");
    if (found.length) mark(0);
  }

  const search = debounce(90, async () => {
    const text = input.value.trim();
    if (!text) return close();
    const matches = await find(text).catch(() => null);
    if (matches === null || input.value.trim() !== text || document.activeElement !== input) return undefined;
    found = matches;
    return show(text);
  });

  input.addEventListener("input", search);
  input.addEventListener("blur", close);
  input.addEventListener("focus", () => input.value.trim() && search());
  input.addEventListener("keydown", (event) => {
    const steps = { ArrowDown: 1, ArrowUp: -1 };
    if (event.key in steps && !list.hidden && found.length) {
      event.preventDefault();
      mark((active + steps[event.key] + found.length) % found.length);
    } else if (event.key === "ArrowDown" && list.hidden) {
      search();
    } else if (event.key === "Enter" && !list.hidden && active >= 0) {
      event.preventDefault();
      take(active);
    } else if (event.key === "Escape" && !list.hidden) {
      event.preventDefault();
      event.stopPropagation();
      close();
    }
  });
  return { element: box, input };
}
