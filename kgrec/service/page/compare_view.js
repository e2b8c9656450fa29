// Two lists for the same user, side by side: of two settings, or of two bundles.

import { latestOnly } from "/page/api.js";
import { count, debounce, h } from "/page/dom.js";
import { itemList } from "/page/lists.js";
import { dial, isAway, segments, showNotes, skeleton, tell } from "/page/parts.js";
import { getState, note } from "/page/state.js";
import { readWho, whoPanel } from "/page/who.js";

export function compareView(service) {
  const hasCandidate = service.versions.some((version) => version.role === "candidate");
  const by = () => (hasCandidate && getState().by === "bundles" ? "bundles" : "settings");
  const places = new Map(); // a side -> the items of its list
  const sides = ["a", "b"].map((side) => makeSide(side));
  const summary = h("p", { class: "figure", "aria-live": "polite" });
  const who = whoPanel(() => sides.forEach((side) => side.refresh()), { texts: service.hasTexts });

  function makeSide(side) {
    const latest = latestOnly();
    const other = side === "a" ? "b" : "a";
    const heading = h("h2", null, "");
    const dials = h("div", { class: "dials" });
    const list = itemList({
      label: side === "a" ? "First list" : "Second list",
      explain: () => ({ ...readWho(), ...(by() === "bundles" ? { version: side === "a" ? "current" : "candidate" } : {}) }),
      mark: (item) => markMove(item, places.get(other), side === "a"),
    });
    const notes = h("div");
    const body = h("div", null, skeleton(6));
    const refresh = async () => {
      const state = getState();
      const asked = { ...readWho(), k: 10, explain: true, tail: Number(state[`tail-${side}`] ?? 0), diversity: Number(state[`diversity-${side}`] ?? 0) };
      if (by() === "bundles") Object.assign(asked, { version: side === "a" ? "current" : "candidate", tail: 0, diversity: 0 });
      try {
        const found = await latest("/recommend", asked);
        if (found === null) return;
        places.set(side, found.items);
        notes.replaceChildren(showNotes(found.notes) ?? "");
        if (body.firstChild !== list.element) body.replaceChildren(list.element);
        sides.forEach((each) => each.show());
        summarise();
      } catch (error) {
        if (isAway(error)) {
          if (body.firstChild !== list.element) body.replaceChildren();
          tell(notes, error, refresh); // the last list stays
          return;
        }
        places.delete(side);
        tell(body, error, refresh);
        summary.textContent = "";
      }
    };
    const soon = debounce(40, refresh);
    const makeDials = () => {
      const bundle = service.versions.find((version) => version.role === (side === "a" ? "current" : "candidate"));
      heading.replaceChildren(by() === "bundles" ? (side === "a" ? "Current" : "Candidate") : side.toUpperCase(),
        by() === "bundles" ? h("code", { class: "soft" }, ` ${bundle?.version ?? ""}`) : "");
      const turn = (name) => (value) => {
        note({ [`${name}-${side}`]: value || undefined });
        soon();
      };
      const state = getState();
      dials.replaceChildren(...(by() === "bundles" ? [] : [
        dial({ label: "Tail", min: -1, max: 1, step: 0.05, value: state[`tail-${side}`] ?? 0, low: "popular", high: "little known", oninput: turn("tail") }).element,
        dial({ label: "Diversity", min: 0, max: 1, step: 0.05, value: state[`diversity-${side}`] ?? 0, low: "as ranked", high: "different", oninput: turn("diversity") }).element]));
    };
    makeDials();
    return {
      element: h("section", { class: "part compared", "aria-label": side === "a" ? "First list" : "Second list" }, heading, dials, notes, body),
      refresh, makeDials, show: () => places.has(side) && list.show(places.get(side)),
    };
  }

  function summarise() {
    const [first, second] = [places.get("a"), places.get("b")];
    if (!first || !second) return;
    const ids = new Set(first.map((item) => item.item));
    const both = second.filter((item) => ids.has(item.item)).length;
    const same = second.filter((item, place) => first[place]?.item === item.item).length;
    summary.replaceChildren(h("strong", null, String(both)), ` of ${count(Math.max(first.length, second.length), "item")} in both lists, `, h("strong", null, String(same)), " at the same rank");
  }

  const choice = segments({
    label: "Compare", options: [["settings", "Two settings"], ...(hasCandidate ? [["bundles", "Two bundles"]] : [])], value: by(),
    onchange: (value) => {
      note({ by: value === "settings" ? undefined : value });
      sides.forEach((side) => {
        side.makeDials();
        side.refresh();
      });
    },
  });
  if (getState()["tail-b"] === undefined && by() === "settings") note({ "tail-b": "0.5" });
  sides.forEach((side) => {
    side.makeDials();
    side.refresh();
  });
  return h("div", { class: "columns" }, h("div", { class: "side" }, who.element,
    h("section", { class: "panel", "aria-label": "What is compared" }, h("p", { class: "field-label" }, "Compare"), choice,
      hasCandidate ? null : h("p", { class: "hint" }, "Two bundles can be compared where the service has a candidate: start it with --candidate."))),
  h("section", { class: "list-section", "aria-labelledby": "compare-title" }, h("h1", { id: "compare-title" }, "Compare"), summary,
    h("div", { class: "halves tight" }, ...sides.map((side) => side.element))));
}

function markMove(item, others, isFirst) {
  if (!others) return null;
  const other = others.find((each) => each.item === item.item);
  if (!other) return isFirst ? { text: "only here", kind: "gone", label: "only in this list" } : { text: "new", kind: "new", label: "new in this list" };
  if (isFirst || other.rank === item.rank) return null;
  const by = other.rank - item.rank;
  return by > 0 ? { text: `▲ ${by}`, kind: "up", label: `up by ${by}` } : { text: `▼ ${-by}`, kind: "down", label: `down by ${-by}` };
}
