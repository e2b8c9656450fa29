// The page: the key, the views and the theme.

import { ask, keepKey, onRefused, readKey, ServiceError } from "/page/api.js";
import { compareView } from "/page/compare_view.js";
import { h, labelled } from "/page/dom.js";
import { itemView } from "/page/item_view.js";
import { keysView } from "/page/keys_view.js";
import { newItemView } from "/page/new_item_view.js";
import { openDialog, showProblem, skeleton, tell } from "/page/parts.js";
import { recommendView } from "/page/recommend_view.js";
import { reportView } from "/page/report_view.js";
import { getState, linkTo, onView } from "/page/state.js";
import { statusView } from "/page/status_view.js";

const VIEWS = {
  recommend: ["Recommend", recommendView],
  item: ["Item", itemView],
  new: ["New item", newItemView],
  compare: ["Compare", compareView],
  report: ["Report", reportView],
  status: ["Status", statusView],
  keys: ["Keys", keysView],
};
const KEPT_THEME = "kgrec-theme";
const main = document.getElementById("main");
const keyButton = document.getElementById("key");
let service = null; // what the views need to know of it; null: no key, or a wrong one

async function openService() {
  const status = await ask("/status");
  const { features } = status;
  const links = Object.entries(features.edges ?? {})
    .filter(([, edge]) => [edge.source, edge.target].includes(features.item_type) && ![edge.source, edge.target].includes(features.user_type))
    .map(([name, edge]) => ({ name, phrase: edge.phrase || name.replaceAll("_", " ") }));
  service = { versions: status.versions, scope: status.scope, tenant: status.tenant, itemType: features.item_type ?? "item", hasTexts: Boolean(features.has_texts), links };
  const current = status.versions.find((version) => version.role === "current");
  document.getElementById("catalogue").textContent = current?.name ?? "";
}

function showNavigation() {
  const { view } = getState();
  const shown = Object.entries(VIEWS).filter(([key]) => key !== "keys" || service?.scope === "admin" || view === "keys");
  document.getElementById("views").replaceChildren(...(service ? shown : []).map(([key, [title]]) =>
    h("a", { href: linkTo(key), "aria-current": key === view ? "page" : null, "data-view": key }, title)));
  document.querySelector("#views [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
  keyButton.textContent = service ? `Key: ${service.scope}` : "Enter a key";
}

function show() {
  const { view } = getState();
  const [title, build] = VIEWS[view] ?? VIEWS.recommend;
  document.title = `${title} · kgrec`;
  showNavigation();
  main.replaceChildren(build(service));
}

async function start() {
  if (!readKey()) return askForKey();
  const holder = h("div", { class: "single" }, skeleton(6));
  main.replaceChildren(holder);

  async function open() {
    try {
      await openService();
    } catch (error) {
      service = null;
      showNavigation();
      return error.status === 401 ? askForKey(error) : tell(holder, error, open);
    }
    return show();
  }

  return open();
}

function askForKey(problem) {
  service = null;
  showNavigation();
  const field = h("input", { type: "password", required: true, autocomplete: "off", spellcheck: "false", placeholder: "kgrec_…" });
  const about = h("div", null, problem ? showProblem(problem) : null);
  const submit = h("button", { type: "submit", class: "primary" }, "Open");
  const form = h("form", { class: "panel welcome", onsubmit: async (event) => {
    event.preventDefault();
    submit.disabled = true;
    keepKey(field.value.trim());
    try {
      await openService();
      show();
    } catch (error) {
      if (!(error instanceof ServiceError) || error.status === 401) keepKey("");
      about.replaceChildren(showProblem(error));
      submit.disabled = false;
      field.select();
    }
  } }, h("h1", null, "See what the model recommends"),
  h("p", { class: "soft" }, "Lists and their reasons, similar items, and who would get a new one. It takes an API key of this service."),
  labelled("API key", field, "It stays in this tab, and is forgotten when the tab is closed."), about, h("div", { class: "buttons" }, submit));
  main.replaceChildren(form);
  field.focus();
}

keyButton.addEventListener("click", async () => {
  if (!service) return main.querySelector("input")?.focus();
  const chosen = await openDialog("API key", (close) => [
    h("p", null, `This key has the scope ${service.scope}${service.tenant ? `, for ${service.tenant} alone` : ""}.`),
    h("div", { class: "buttons" }, h("button", { type: "button", class: "primary", onclick: () => close("forget") }, "Use another key"),
      h("button", { type: "button", onclick: () => close(null) }, "Close"))]);
  if (chosen !== "forget") return undefined;
  keepKey("");
  return askForKey();
});

onRefused((problem) => {
  if (!service) return; // the form says it
  keepKey("");
  askForKey(problem);
});

function setTheme(theme) {
  if (theme) document.documentElement.dataset.theme = theme;
  document.querySelector("meta[name=color-scheme]").content = theme ?? "light dark";
}

document.getElementById("theme").addEventListener("click", () => {
  const now = document.documentElement.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  const next = now === "dark" ? "light" : "dark";
  localStorage.setItem(KEPT_THEME, next);
  setTheme(next);
});

document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault(); // the fragment is the view
  main.focus();
});

setTheme(localStorage.getItem(KEPT_THEME));
onView(() => {
  if (!service) return;
  show();
  main.focus({ preventScroll: true });
  scrollTo(0, 0);
});
start();
