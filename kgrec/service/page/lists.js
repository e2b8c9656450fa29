// Lists of items: rows that move to their new places, and the reasons behind each of them.

import { ask } from "/page/api.js";
import { h, makeId } from "/page/dom.js";
import { drawPaths } from "/page/graphs.js";
import { keepName, showProblem, skeleton, titleOf } from "/page/parts.js";
import { linkTo } from "/page/state.js";

const calm = matchMedia("(prefers-reduced-motion: reduce)");
const MOVE_MS = 380;

// options.explain: () -> the body of /explain without the item; null: no "Why".
// options.like: called with an item to like; null: no such button.
export function itemList({ label, explain = null, like = null, mark = null }) {
  const list = h("ol", { class: "items", "aria-label": label });
  const rows = new Map();

  function makeRow(item) {
    keepName(item.item, item.title);
    const title = titleOf(item);
    const reason = h("p", { class: "reason" });
    const rank = h("span", { class: "rank", "aria-hidden": "true" });
    const score = h("span", { class: "score", title: "Score: higher is better, within this list" });
    const moved = h("span", { class: "moved" });
    const panel = h("div", { class: "why", id: makeId("why"), hidden: true });
    const why = explain && h("button", { type: "button", class: "quiet small", "aria-expanded": "false", "aria-controls": panel.id, "aria-label": `Why ${title}` }, "Why");
    const element = h("li", { class: "item", "data-id": item.item },
      h("div", { class: "item-row" }, rank,
        h("div", { class: "item-text" }, h("p", { class: "item-title" }, h("a", { href: linkTo("item", { item: item.item }) }, title), moved), reason),
        score,
        h("div", { class: "item-tools" }, why,
          like && h("button", { type: "button", class: "quiet small", "aria-label": `Like ${title}`, onclick: () => like(item) }, "Like"))),
      panel);
    why?.addEventListener("click", () => {
      const opened = why.getAttribute("aria-expanded") === "true";
      why.setAttribute("aria-expanded", String(!opened));
      panel.hidden = opened;
      if (!opened) showWhy(panel, { ...explain(), item: item.item });
    });
    return { element, rank, reason, score, moved, why, panel };
  }

  return {
    element: list,
    close() {
      for (const { why, panel } of rows.values()) {
        why?.setAttribute("aria-expanded", "false");
        panel.hidden = true;
      }
    },
    show(items) {
      const before = new Map([...rows].map(([id, { element }]) => [id, element.getBoundingClientRect().top]));
      const wanted = new Set(items.map((item) => item.item));
      for (const [id, { element }] of rows) {
        if (wanted.has(id)) continue;
        element.remove();
        rows.delete(id);
      }
      const held = list.contains(document.activeElement) ? document.activeElement : null;
      items.forEach((item, place) => {
        if (!rows.has(item.item)) rows.set(item.item, makeRow(item));
        const row = rows.get(item.item);
        row.rank.textContent = String(item.rank);
        row.reason.textContent = item.reason ?? "";
        row.reason.hidden = !item.reason;
        row.score.textContent = item.score.toFixed(2);
        showMark(row.moved, mark?.(item));
        if (list.children[place] !== row.element) list.insertBefore(row.element, list.children[place] ?? null);
      });
      held?.focus({ preventScroll: true });
      if (calm.matches || !before.size) return;
      for (const [id, { element }] of rows) {
        const top = before.get(id);
        if (top === undefined) {
          element.animate([{ opacity: 0, transform: "translateX(12px)" }, { opacity: 1, transform: "none" }], { duration: MOVE_MS, easing: "ease-out" });
          continue;
        }
        const by = top - element.getBoundingClientRect().top;
        if (by) element.animate([{ transform: `translateY(${by}px)` }, { transform: "none" }], { duration: MOVE_MS, easing: "cubic-bezier(.2,.7,.2,1)" });
      }
    },
  };
}

// What became of an item beside another list: { text, kind, label }.
function showMark(element, found) {
  element.textContent = found?.text ?? "";
  element.className = `moved${found ? ` ${found.kind}` : ""}`;
  if (found) element.setAttribute("aria-label", found.label);
  else element.removeAttribute("aria-label");
  if (found) element.setAttribute("role", "img");
}

async function showWhy(panel, body) {
  panel.replaceChildren(skeleton(3));
  try {
    const found = await ask("/explain", body);
    panel.replaceChildren(...describe(found));
  } catch (error) {
    panel.replaceChildren(showProblem(error));
  }
}

const SOURCES = { sentence: "Your sentence", profile: "What is known of the user", everybody: "Everybody (popularity)" };

function describe(found) {
  const values = found.shares.map((share) => share.value);
  const [below, above] = [-Math.min(0, ...values), Math.max(1e-9, ...values)];
  const percent = (value) => `${(100 * value) / (above + below)}%`;
  const paths = found.shares.filter((share) => share.steps.length);
  return [
    h("h3", null, "What adds to the score"),
    h("dl", { class: "shares" }, ...found.shares.slice(0, 12).flatMap((share) => {
      const bar = h("span", { class: `share-bar ${share.value < 0 ? "negative" : ""} ${share.source}` });
      bar.style.width = percent(Math.abs(share.value));
      bar.style.left = percent(below + Math.min(0, share.value));
      const name = share.source === "like" ? share.title || share.item : share.source === "profile" && share.title ? `The user's ${share.title}` : SOURCES[share.source];
      return [h("dt", { title: name }, name), h("dd", null, h("span", { class: "share-track" }, bar), h("span", { class: "share-value" }, share.value.toFixed(2)))];
    })),
    found.shares.length > 12 ? h("p", { class: "hint" }, `and ${found.shares.length - 12} smaller ones`) : null,
    paths.length ? h("h3", null, "How they are linked") : null,
    ...paths.slice(0, 3).map((share) => drawPaths(share.steps, share.paths)),
    h("p", { class: "hint" }, `The score is ${found.score.toFixed(2)}, the sum of these. The dials are not in it.`),
  ].filter(Boolean);
}
