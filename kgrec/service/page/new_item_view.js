// An item that does not exist yet: who would get it, before anything is added.

import { ask } from "/page/api.js";
import { showAudience } from "/page/audience_part.js";
import { combobox } from "/page/combobox.js";
import { announce, h, labelled } from "/page/dom.js";
import { chips, empty, makeFind, showProblem, skeleton } from "/page/parts.js";
import { linkTo } from "/page/state.js";

// A new key for a write; `crypto.randomUUID` is there on secure pages only.
function makeToken() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

export function newItemView(service) {
  const id = h("input", { type: "text", required: true, maxlength: "512", autocomplete: "off", spellcheck: "false", value: `new-${Date.now().toString(36)}` });
  const name = h("input", { type: "text", maxlength: "2000" });
  const text = h("textarea", { rows: "4", maxlength: "10000" });
  const links = new Map(); // edge type and id -> { type, id, title, phrase }
  const results = h("div", null, empty("Nothing asked yet", "Describe an item by a name, a text or links, then see who would get it. Nothing is added by looking."));
  const added = h("div", { "aria-live": "polite" });
  const shown = chips({ label: "Links", onremove: (key) => {
    links.delete(key);
    showLinks();
  }, field: () => search.input });
  const kinds = service.links;
  const kind = h("select", null, ...kinds.map(({ name: type, phrase }) => h("option", { value: type }, phrase)));
  const search = combobox({
    label: "Linked to", placeholder: "Search by name or id", find: makeFind(() => kind.value), small: true,
    choose: ({ id: far, title }) => {
      links.set(`${kind.value} ${far}`, { type: kind.value, id: far, title, phrase: kind.selectedOptions[0].textContent });
      showLinks();
      return "";
    },
  });
  const look = h("button", { type: "submit", class: "primary" }, "See who would get it");
  const add = h("button", { type: "button", disabled: true, onclick: addItem }, "Add to the catalogue");
  const canWrite = service.scope !== "read";
  const hint = h("p", { class: "hint" }, canWrite ? "See who would get it first, then add it." : "This key reads only: it can look, not add.");

  function showLinks() {
    shown.show([...links].map(([key, link]) => ({ id: key, title: link.title, note: link.phrase })));
    change();
  }

  function change() {
    add.disabled = true;
    hint.hidden = false;
    added.replaceChildren();
  }

  function describe() {
    return {
      item: id.value.trim(),
      ...(name.value.trim() ? { name: name.value.trim() } : {}),
      ...(text.value.trim() ? { text: text.value.trim() } : {}),
      links: [...links.values()].map((link) => [link.type, link.id]),
    };
  }

  async function ask_(event) {
    event.preventDefault();
    results.replaceChildren(skeleton(7));
    look.disabled = true;
    try {
      const found = await ask("/audience", { item: describe(), k: 10 });
      results.replaceChildren(...showAudience(found, { isNew: true }));
      announce(`${found.n_within} of ${found.n_asked} users would get it`);
      add.disabled = !canWrite;
      hint.hidden = canWrite;
    } catch (error) {
      results.replaceChildren(showProblem(error));
    } finally {
      look.disabled = false;
    }
  }

  async function addItem() {
    add.disabled = true;
    try {
      const part = describe();
      await ask("/items", { add: [part] }, { headers: { "Idempotency-Key": makeToken() } });
      added.replaceChildren(h("div", { class: "notice good" }, h("strong", null, "Added. "), h("a", { href: linkTo("item", { item: part.item }) }, `See ${part.name ?? part.item}`)));
    } catch (error) {
      add.disabled = false;
      added.replaceChildren(showProblem(error));
    }
  }

  return h("div", { class: "columns" },
    h("div", { class: "side" }, h("form", { class: "panel", onsubmit: ask_, oninput: change, "aria-label": "The new item" },
      labelled("Id", id, "As the catalogue is to know it; it must be new."), labelled("Name", name),
      service.hasTexts ? labelled("Text", text, "What it is about: this places it among the others.") : null,
      kinds.length ? h("fieldset", { class: "plain" }, h("legend", null, "Links"), h("div", { class: "link-fields" }, labelled("Kind", kind), search.element), shown.element) : null,
      h("div", { class: "buttons" }, look, add),
      hint, added)),
    h("section", { "aria-labelledby": "new-title" }, h("h1", { id: "new-title" }, "Who would get it"), results));
}
