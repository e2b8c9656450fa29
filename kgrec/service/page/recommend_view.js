// Recommendations for a user, with the dials and the reasons.

import { latestOnly } from "/page/api.js";
import { announce, count, debounce, h } from "/page/dom.js";
import { itemList } from "/page/lists.js";
import { dial, empty, isAway, segments, showNotes, skeleton, tell } from "/page/parts.js";
import { getState, note } from "/page/state.js";
import { readWho, whoPanel } from "/page/who.js";

const DIAL_MS = 40;

export function recommendView(service) {
  const latest = latestOnly();
  const about = h("div", { class: "list-about" });
  const list = itemList({ label: "Recommended", explain: readWho, like: (item) => who.addLike(item.item) });
  const body = h("div", { class: "list-body" }, skeleton(6));
  const who = whoPanel(() => {
    list.close();
    refresh();
  }, { texts: service.hasTexts });
  const soon = debounce(DIAL_MS, refresh);
  const turn = (name) => (value) => {
    note({ [name]: value || undefined });
    soon();
  };
  const { tail, diversity, k } = getState();
  const dials = h("section", { class: "panel dials", "aria-label": "Dials" },
    dial({ label: "Tail", min: -1, max: 1, step: 0.05, value: tail ?? 0, low: "popular", high: "little known", oninput: turn("tail") }).element,
    dial({ label: "Diversity", min: 0, max: 1, step: 0.05, value: diversity ?? 0, low: "as ranked", high: "as different as can be", oninput: turn("diversity") }).element,
    h("div", { class: "dial" }, h("div", { class: "dial-head" }, h("span", null, "Length")),
      segments({ label: "Length of the list", options: [["10", "10"], ["20", "20"], ["50", "50"]], value: k ?? "10", onchange: (value) => {
        note({ k: value === "10" ? undefined : value });
        refresh();
      } })));

  async function refresh() {
    const { tail: at, diversity: varied, k: most } = getState();
    body.setAttribute("aria-busy", "true");
    try {
      const found = await latest("/recommend", { ...readWho(), k: Number(most ?? 10), tail: Number(at ?? 0), diversity: Number(varied ?? 0), explain: true });
      if (found === null) return undefined;
      body.removeAttribute("aria-busy");
      if (body.firstChild !== list.element) body.replaceChildren(list.element);
      if (!found.items.length) body.replaceChildren(empty("Nothing to recommend", "Everything that fits is liked or has been seen already."));
      about.replaceChildren(showNotes(found.notes) ?? "");
      list.show(found.items);
      announce(`${count(found.items.length, "item")} listed`);
      return undefined;
    } catch (error) {
      body.removeAttribute("aria-busy");
      if (isAway(error)) {
        if (body.firstChild !== list.element) body.replaceChildren();
        return tell(about, error, refresh); // the last list stays
      }
      about.replaceChildren();
      return tell(body, error, refresh);
    }
  }

  refresh();
  return h("div", { class: "columns" }, h("div", { class: "side" }, who.element, dials),
    h("section", { class: "list-section", "aria-labelledby": "list-title" }, h("h1", { id: "list-title" }, "Recommended"), about, body));
}
