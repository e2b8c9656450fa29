// Who would get an item: how many within which rank, the first of them, and what the item is near to.

import { count, formatNumber, h } from "/page/dom.js";
import { itemList } from "/page/lists.js";
import { empty, showNotes } from "/page/parts.js";
import { go, linkTo } from "/page/state.js";

// Why a new item may be among the first of nobody.
function describeNew() {
  return h("p", { class: "soft new-means" }, "It has no likes yet, so it stands behind what is known. Among new items, or as one of the ", h("code", null, "candidates"),
    " of a request, it is ranked by its text and its links.");
}

// isNew: the item is not in the catalogue yet.
export function showAudience(found, { isNew }) {
  const rows = Object.entries(found.within);
  const list = itemList({ label: "Near to" });
  list.show(found.similar);
  return [
    h("p", { class: "figure" }, h("strong", null, formatNumber(found.n_within)), ` of ${count(found.n_asked, "user")} would have it among their first 10`),
    h("dl", { class: "shares within" }, ...rows.flatMap(([rank, n]) => {
      const bar = h("span", { class: "share-bar" });
      bar.style.width = `${found.n_asked ? (100 * n) / found.n_asked : 0}%`;
      return [h("dt", null, `first ${rank}`), h("dd", null, h("span", { class: "share-track" }, bar), h("span", { class: "share-value" }, formatNumber(n)))];
    })),
    isNew && found.n_asked && !found.n_within ? describeNew() : null,
    showNotes(found.notes),
    found.users.length ? h("div", { class: "scroll" }, h("table", null,
      h("thead", null, h("tr", null, h("th", { scope: "col" }, "User"), h("th", { scope: "col", class: "number" }, "Rank"), h("th", { scope: "col", class: "number" }, "Score"))),
      h("tbody", null, ...found.users.map((user) => h("tr", null,
        h("td", null, h("a", { href: linkTo("recommend"), onclick: (event) => {
          event.preventDefault();
          go("recommend", { user: user.user });
        } }, user.name || user.user)),
        h("td", { class: "number" }, formatNumber(user.rank)), h("td", { class: "number" }, user.score.toFixed(2))))))) : null,
    !found.n_asked ? empty("Nobody to ask", "No user has likes and lacks the item.") : null,
    isNew && found.similar.length ? h("div", { class: "near-to" }, h("h3", null, "It is near to"), list.element) : null,
  ].filter(Boolean);
}
