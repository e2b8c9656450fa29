// The API keys and the audit log, for admins.

import { ask } from "/page/api.js";
import { announce, count, formatTime, h, labelled } from "/page/dom.js";
import { empty, openDialog, showProblem, skeleton, tell } from "/page/parts.js";

const SCOPES = [["read", "read: asks"], ["write", "write: asks and changes"], ["admin", "admin: everything"]];

export function keysView() {
  const keys = h("div", { class: "stack" }, skeleton(4));
  const audit = h("div", { class: "stack" }, skeleton(6));

  async function refresh() {
    try {
      const found = await ask("/keys");
      keys.replaceChildren(showKeys(found.keys, revoke));
    } catch (error) {
      tell(keys, error, refresh);
    }
    try {
      audit.replaceChildren(...showAudit(await ask("/audit", { last: 50 })));
    } catch (error) {
      if (error.status === 403) audit.replaceChildren(empty("For admins", "The audit log needs a key with the scope admin."));
      else tell(audit, error, refresh);
    }
  }

  async function revoke(key) {
    const sure = await openDialog(`Revoke “${key.name}”?`, (close) => [
      h("p", null, "Whoever uses this key gets no answer any more. It cannot be undone."),
      h("div", { class: "buttons" }, h("button", { type: "button", class: "danger", onclick: () => close(true) }, "Revoke"),
        h("button", { type: "button", onclick: () => close(null) }, "Keep it"))]);
    if (!sure) return;
    try {
      await ask("/keys", { revoke: key.id });
      announce(`${key.name} is revoked`);
    } catch (error) {
      keys.prepend(showProblem(error));
      return;
    }
    refresh();
  }

  async function create() {
    const created = await openDialog("New key", (close) => buildForm(close));
    if (!created) return;
    await openDialog("The new key", (close) => showOnce(created, close));
    refresh();
  }

  refresh();
  return h("div", { class: "single" },
    h("div", { class: "part-head" }, h("h1", null, "Keys"), h("button", { type: "button", class: "primary", onclick: create }, "New key")), keys,
    h("h2", null, "Audit"), h("p", { class: "soft" }, "Writes and what admins did, the latest first. Each line has a hash of the one before."), audit);
}

function buildForm(close) {
  const name = h("input", { type: "text", required: true, maxlength: "200", autocomplete: "off" });
  const scope = h("select", null, ...SCOPES.map(([value, text]) => h("option", { value }, text)));
  const tenant = h("input", { type: "text", autocomplete: "off", spellcheck: "false", placeholder: "shop=s-7" });
  const problem = h("div");
  const submit = async (event) => {
    event.preventDefault();
    try {
      const made = await ask("/keys", { create: { name: name.value.trim(), scope: scope.value, ...(tenant.value.trim() ? { tenant: tenant.value.trim() } : {}) } });
      close(made);
    } catch (error) {
      problem.replaceChildren(showProblem(error));
    }
  };
  return [h("form", { onsubmit: submit }, labelled("Name", name, "For people: who uses it, and for what."), labelled("Scope", scope),
    labelled("Only items of", tenant, "Optional: a kind of link and an id. Only items linked to it exist for this key."), problem,
    h("div", { class: "buttons" }, h("button", { type: "submit", class: "primary" }, "Make the key"), h("button", { type: "button", onclick: () => close(null) }, "Cancel")))];
}

// What the items are that exist for a key of a tenant.
function describeItems({ tenant, nItems }) {
  if (nItems === null || nItems === undefined) return null;
  return h("div", { class: `notice ${nItems ? "good" : "warn"}` }, h("strong", null, nItems ? `${count(nItems, "item")} exist${nItems === 1 ? "s" : ""} for this key` : "No item exists for this key"),
    nItems ? null : h("p", null, `No item of the catalogue has ${tenant}. See whether it is spelled as in the catalogue; items that get it later will exist for the key.`));
}

function showOnce({ created, keys, n_items: nItems }, close) {
  const tenant = keys.find((key) => created.includes(key.id))?.tenant;
  const field = h("input", { type: "text", readonly: true, value: created, class: "secret", "aria-label": "The key", onfocus: (event) => event.target.select() });
  const copy = h("button", { type: "button", class: "primary", onclick: async () => {
    field.select();
    try {
      await navigator.clipboard.writeText(created);
      copy.textContent = "Copied";
    } catch {
      copy.textContent = "Press Ctrl+C";
    }
  } }, "Copy");
  return [h("p", null, "Copy it now: it is kept as a hash, and cannot be shown again."), field, describeItems({ tenant, nItems }) ?? "",
    h("div", { class: "buttons" }, copy, h("button", { type: "button", onclick: () => close(true) }, "Done"))];
}

function showKeys(found, revoke) {
  if (!found.length) return empty("No keys", "Make the first one.");
  return h("div", { class: "scroll" }, h("table", null, h("caption", { class: "visually-hidden" }, "API keys"),
    h("thead", null, h("tr", null, ...["Name", "Id", "Scope", "Only items of", "Made", ""].map((text) => h("th", { scope: "col" }, text || h("span", { class: "visually-hidden" }, "Revoke"))))),
    h("tbody", null, ...found.map((key) => h("tr", { class: key.revoked_at ? "revoked" : "" },
      h("td", null, key.name), h("td", null, h("code", null, key.id)), h("td", null, h("span", { class: `tag ${key.scope}` }, key.scope)), h("td", null, key.tenant ?? "all"), h("td", null, formatTime(key.created_at)),
      h("td", { class: "number" }, key.revoked_at ? h("span", { class: "soft" }, `revoked ${formatTime(key.revoked_at)}`)
        : h("button", { type: "button", class: "quiet small", "aria-label": `Revoke ${key.name}`, onclick: () => revoke(key) }, "Revoke")))))));
}

function showAudit({ lines, broken }) {
  const state = broken === null || broken === undefined
    ? h("div", { class: "notice good" }, h("strong", null, "The chain is whole"))
    : h("div", { class: "notice bad" }, h("strong", null, `The chain is broken at line ${broken}`), h("p", null, "Somebody changed this line, or one before it."));
  if (!lines.length) return [state, empty("Nothing yet", "Nobody has changed anything.")];
  return [state, h("div", { class: "scroll" }, h("table", null, h("caption", { class: "visually-hidden" }, "Audit log"),
    h("thead", null, h("tr", null, h("th", { scope: "col", class: "number" }, "Line"), ...["When", "Key", "Act", "What"].map((text) => h("th", { scope: "col" }, text)))),
    h("tbody", null, ...lines.toReversed().map((line) => h("tr", null,
      h("td", { class: "number" }, String(line.n)), h("td", null, formatTime(line.at)), h("td", null, h("code", null, line.actor)), h("td", null, line.act),
      h("td", null, Object.entries(line.about).map(([what, n]) => `${what} ${n}`).join(", ")))))))];
}
