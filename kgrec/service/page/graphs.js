// Draws graphs as SVG: the paths behind a reason, and what is around an item.

import { h, svg } from "/page/dom.js";
import { titleOf } from "/page/parts.js";
import { linkTo } from "/page/state.js";

const canvas = document.createElement("canvas").getContext("2d");
const NARROW = 560; // pixels; below, graphs are drawn from top to bottom
const FONT = "system-ui, sans-serif";

function measure(text, size, weight = 400) {
  canvas.font = `${weight} ${size}px ${FONT}`;
  return canvas.measureText(text).width;
}

// A text cut to a width, with an ellipsis.
function cut(text, width, size, weight) {
  if (measure(text, size, weight) <= width) return text;
  let [low, high] = [0, text.length];
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (measure(`${text.slice(0, middle).trimEnd()}…`, size, weight) <= width) low = middle;
    else high = middle - 1;
  }
  return `${text.slice(0, low).trimEnd()}…`;
}

// A text on at most two lines of a width.
function wrap(text, width, size, weight) {
  if (measure(text, size, weight) <= width) return [text];
  const words = text.split(/\s+/);
  let first = words[0];
  let taken = 1;
  while (taken < words.length && measure(`${first} ${words[taken]}`, size, weight) <= width) first += ` ${words[taken++]}`;
  return taken === words.length ? [cut(first, width, size, weight)] : [cut(first, width, size, weight), cut(words.slice(taken).join(" "), width, size, weight)];
}

// A box with one or two lines. `box` has x, y, width, height; y is its middle.
function drawBox(box, kind, title, small) {
  const { x, y, width, height } = box;
  const room = width - 20;
  const weight = kind === "item" ? 600 : 400;
  const texts = small || height < 36 ? [cut(title, room, 13, weight)] : wrap(title, room, 13, weight);
  const first = small ? y + 12 : texts.length > 1 ? y - 3.5 : y + 4.5;
  const lines = texts.map((text, place) => svg("text", { class: "node-title", x: x + 10, y: first + 15.5 * place }, text));
  if (small) lines.unshift(svg("text", { class: "node-small", x: x + 10, y: y - 5 }, cut(small, room, 11)));
  return [svg("title", null, small ? `${small}: ${title}` : title),
    svg("rect", { x, y: y - height / 2, width, height, rx: kind === "item" ? 8 : height / 2 > 14 ? 14 : height / 2 }), ...lines];
}

function curve(from, to, sideways = true) {
  if (!sideways) {
    const middle = (from.y + to.y) / 2;
    return `M${from.x} ${from.y}C${from.x} ${middle} ${to.x} ${middle} ${to.x} ${to.y}`;
  }
  const middle = (from.x + to.x) / 2;
  return `M${from.x} ${from.y}C${middle} ${from.y} ${middle} ${to.y} ${to.x} ${to.y}`;
}

// Keeps a drawing as wide as its place.
function drawn(className, label, draw) {
  const holder = h("div", { class: className });
  let before = 0;
  new ResizeObserver(([entry]) => {
    const width = Math.floor(entry.contentRect.width);
    if (!width || width === before) return;
    before = width;
    const { height, children } = draw(width);
    holder.replaceChildren(svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "group", "aria-label": label }, ...children));
  }).observe(holder);
  return holder;
}

function nameMiddle(node) {
  return node.name || `${node.type.replaceAll("_", " ").replace(/^.*\./, "")} ${node.id}`;
}

// The paths between a recommended item and a liked one: [[{ id, type, name, edge }, ...], ...].
export function drawPaths(paths, sentences) {
  const [start] = paths[0];
  const end = paths[0].at(-1);
  const middles = paths.map((path) => path.length > 2
    ? { title: nameMiddle(path[1]), small: path[0].edge === path[1].edge ? `same ${path[0].edge || "value"}` : `${path[0].edge} here, ${path[1].edge} there` }
    : { title: path[0].edge, small: null });
  return drawn("path-graph", sentences.join("; "), (width) => width < NARROW ? drawDown(width) : drawAcross(width));

  function drawAcross(width) {
    const height = middles.length * 52 + 4;
    const gap = Math.min(70, width * 0.08);
    const [side, middle] = [(width - 2 * gap) * 0.3, (width - 2 * gap) * 0.4];
    const left = { x: 1, y: height / 2, width: side - 1, height: 36 };
    const right = { x: width - side, y: height / 2, width: side - 1, height: 36 };
    const boxes = middles.map((_, place) => ({ x: side + gap, y: 28 + place * 52, width: middle, height: 42 }));
    return { height, children: [
      ...boxes.flatMap((box) => [
        svg("path", { class: "edge", d: curve({ x: left.x + left.width, y: left.y }, box) }),
        svg("path", { class: "edge", d: curve({ x: box.x + box.width, y: box.y }, right) })]),
      svg("g", { class: "node item chosen" }, drawBox(left, "item", titleOf(start))),
      ...boxes.map((box, place) => svg("g", { class: "node" }, drawBox(box, "middle", middles[place].title, middles[place].small))),
      svg("g", { class: "node item" }, drawBox(right, "item", titleOf(end)))] };
  }

  function drawDown(width) {
    const height = 36 + middles.length * 52 + 14 + 38;
    const top = { x: 1, y: 19, width: width - 48, height: 36 };
    const bottom = { x: 47, y: height - 19, width: width - 48, height: 36 };
    const boxes = middles.map((_, place) => ({ x: 24, y: 72 + place * 52, width: width - 48, height: 42 }));
    return { height, children: [
      ...boxes.flatMap((box) => [
        svg("path", { class: "edge", d: `M12 37V${box.y - 12}Q12 ${box.y} 24 ${box.y}` }),
        svg("path", { class: "edge", d: `M${width - 24} ${box.y}Q${width - 12} ${box.y} ${width - 12} ${box.y + 12}V${height - 37}` })]),
      svg("g", { class: "node item chosen" }, drawBox(top, "item", titleOf(start))),
      ...boxes.map((box, place) => svg("g", { class: "node" }, drawBox(box, "middle", middles[place].title, middles[place].small))),
      svg("g", { class: "node item" }, drawBox(bottom, "item", titleOf(end)))] };
  }
}

// The graph around an item: what it is linked to, then the items that share it.
export function drawNeighbourhood({ nodes, edges }) {
  const own = new Map(); // place of a node next to the item -> the phrases of its edges
  for (const { source, target, phrase } of edges) {
    if (source !== 0 && target !== 0) continue;
    const far = source === 0 ? target : source;
    own.set(far, [...new Set([...(own.get(far) ?? []), phrase])]);
  }
  const linked = [...own.keys()].sort((a, b) => a - b);
  const others = nodes.map((_, place) => place).filter((place) => place && !own.has(place));
  const between = edges.filter(({ source, target }) => source && target)
    .map(({ source, target }) => (own.has(source) ? [source, target] : [target, source]));
  const [center] = nodes;
  return drawn("neighbourhood", `The graph around ${titleOf(center)}`, (width) => {
    const narrow = width < NARROW;
    const step = 46;
    const top = narrow ? 58 : 4;
    const height = top + Math.max(linked.length, others.length, 1) * step;
    const columns = narrow
      ? { left: { x: 18, width: (width - 18) * 0.45 }, right: { x: width - (width - 18) * 0.45, width: (width - 18) * 0.45 - 1 } }
      : { left: { x: width * 0.34, width: width * 0.28 }, right: { x: width * 0.72, width: width * 0.28 - 1 } };
    const rows = Math.max(linked.length, others.length);
    const place = (column, list) => new Map(list.map((node, at) => [node, {
      ...column, y: top + (at + 0.5 + (narrow ? 0 : (rows - list.length) / 2)) * step, height: 38 }]));
    const boxes = new Map([...place(columns.left, linked), ...place(columns.right, others)]);
    const home = narrow ? { x: 1, y: 21, width: width - 2, height: 40 } : { x: 1, y: height / 2, width: width * 0.24, height: 44 };
    const groups = new Map();
    const lines = [];
    for (const far of linked) {
      const box = boxes.get(far);
      const d = narrow ? `M8 41V${box.y - 10}Q8 ${box.y} 18 ${box.y}` : curve({ x: home.x + home.width, y: home.y }, box);
      lines.push({ ends: [0, far], element: svg("path", { class: "edge", d }) });
    }
    for (const [near, far] of between) {
      const [from, to] = [boxes.get(near), boxes.get(far)];
      const d = from.x === to.x ? `M${from.x + from.width} ${from.y}C${from.x + from.width + 40} ${from.y} ${to.x + to.width + 40} ${to.y} ${to.x + to.width} ${to.y}`
        : curve({ x: from.x + from.width, y: from.y }, to);
      lines.push({ ends: [near, far], element: svg("path", { class: "edge faint", d }) });
    }
    const mark = (node) => {
      for (const { ends, element } of lines) element.classList.toggle("marked", node !== null && ends.includes(node));
      const near = new Set(node === null ? [] : lines.filter(({ ends }) => ends.includes(node)).flatMap(({ ends }) => ends));
      for (const [at, group] of groups) group.classList.toggle("marked", near.has(at));
      holderOf(lines)?.classList.toggle("marking", node !== null);
    };
    const listen = { onpointerleave: () => mark(null), onblur: () => mark(null) };
    for (const [at, box] of boxes) {
      const node = nodes[at];
      const is = node.type === center.type;
      const phrases = (own.get(at) ?? []).join(", ");
      const small = own.has(at) ? (node.n_items ? `${phrases} · ${node.n_items} ${node.n_items === 1 ? "item" : "items"}` : phrases) : null;
      const drawnBox = drawBox(box, is ? "item" : "middle", is ? titleOf(node) : nameMiddle(node), small);
      const events = { ...listen, onpointerenter: () => mark(at), onfocus: () => mark(at) };
      groups.set(at, is
        ? svg("a", { class: "node item", href: linkTo("item", { item: node.id }), "data-id": node.id, "aria-label": small ? `${titleOf(node)}, ${small}` : titleOf(node), ...events }, drawnBox)
        : svg("g", { class: "node", tabindex: "0", role: "img", "aria-label": `${nameMiddle(node)}, ${small}`, ...events }, drawnBox));
    }
    const homeGroup = svg("g", { class: "node item chosen" }, drawBox(home, "item", titleOf(center)));
    groups.set(0, homeGroup);
    return { height, children: [svg("g", null, ...lines.map(({ element }) => element)), homeGroup, ...[...groups.values()].filter((group) => group !== homeGroup)] };
  });
}

function holderOf(lines) {
  return lines[0]?.element.ownerSVGElement;
}
