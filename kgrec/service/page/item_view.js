// One item: what is similar to it, what is around it in the graph, and who would get it.

import { ask, latestOnly } from "/page/api.js";
import { showAudience } from "/page/audience_part.js";
import { combobox } from "/page/combobox.js";
import { count, h } from "/page/dom.js";
import { drawNeighbourhood } from "/page/graphs.js";
import { itemList } from "/page/lists.js";
import { empty, keepName, makeFind, nameOf, segments, showNotes, skeleton, tell } from "/page/parts.js";
import { getState, linkTo, note } from "/page/state.js";

const BY = [["", "Everything"], ["likes", "Likes"], ["text", "Texts"], ["links", "Links"]];

export function itemView(service) {
  const { item } = getState();
  const search = combobox({
    label: "Item", placeholder: "Search items by name or id", find: makeFind(),
    choose: ({ id }) => {
      location.hash = linkTo("item", { item: id });
      return "";
    },
  });
  const top = h("div", { class: "item-search" }, search.element);
  if (!item) {
    return h("div", { class: "single" }, h("h1", null, "Item"), top, empty("Choose an item", "See what is similar to it, what it is linked to, and who would get it."));
  }
  const about = h("div", { class: "single" }, skeleton(6));

  async function refresh() {
    try {
      const { items: [found] } = await ask("/search", { items: [item] });
      if (found) keepName(item, found.title);
      about.replaceChildren(...(found ? describe(item, service) : [h("h1", null, "Item"), empty(`There is no item “${item}”`, "Search for one by its name or id.")]));
    } catch (error) {
      tell(about, error, refresh);
    }
  }

  refresh();
  return h("div", { class: "single" }, top, about);
}

function describe(item, service) {
  return [
    h("div", { class: "item-head" }, h("h1", null, nameOf(item)), h("p", { class: "soft" }, `${service.itemType} `, h("code", null, item)),
      h("a", { class: "button", href: linkTo("recommend", { like: [item] }) }, "Recommend to somebody who likes it")),
    h("div", { class: "halves" }, similarPart(item, service), audiencePart(item)), aroundPart(item)];
}

function similarPart(item, service) {
  const latest = latestOnly();
  const list = itemList({ label: "Similar" });
  const body = h("div", null, skeleton(5));
  const by = getState().by ?? "";

  async function refresh() {
    try {
      const found = await latest("/similar", { item, k: 10, explain: true, ...(getState().by ? { by: getState().by } : {}) });
      if (found === null) return;
      list.show(found.items);
      body.replaceChildren(showNotes(found.notes) ?? "", found.items.length ? list.element : empty("Nothing is similar", "Try another way to compare."));
    } catch (error) {
      tell(body, error, refresh);
    }
  }

  refresh();
  return h("section", { class: "part", "aria-labelledby": "similar" },
    h("div", { class: "part-head" }, h("h2", { id: "similar" }, "Similar"),
      segments({ label: "Compare by", options: BY.filter(([key]) => key !== "text" || service.hasTexts), value: by, onchange: (key) => {
        note({ by: key });
        refresh();
      } })), body);
}

function audiencePart(item) {
  const body = h("div", null, skeleton(5));
  const refresh = () => ask("/audience", { item, k: 10 }).then((found) => body.replaceChildren(...showAudience(found, { isNew: false })), (error) => tell(body, error, refresh));
  refresh();
  return h("section", { class: "part", "aria-labelledby": "audience" }, h("div", { class: "part-head" }, h("h2", { id: "audience" }, "Who would get it")), body);
}

function aroundPart(item) {
  const body = h("div", null, skeleton(8));
  const about = h("p", { class: "soft" });
  const more = h("button", { type: "button", class: "quiet", onclick: () => refresh(100) }, "Show more");

  async function refresh(most) {
    try {
      const found = await ask("/neighbourhood", { item, most });
      const isAlone = found.nodes.length < 2;
      body.replaceChildren(isAlone ? empty("Not linked to anything", "The graph has no links of this item.") : drawNeighbourhood(found));
      about.textContent = isAlone ? "" : `The item, what it is linked to, and the items that share it. ${found.left_out ? `${count(found.left_out, "link")} not shown.` : ""}`;
      more.hidden = isAlone || most > 30 || found.nodes.length < 30;
    } catch (error) {
      more.hidden = true;
      tell(body, error, () => refresh(most));
    }
  }

  refresh(30);
  return h("section", { class: "part", "aria-labelledby": "around" }, h("div", { class: "part-head" }, h("h2", { id: "around" }, "Around it in the graph"), more), about, body);
}
