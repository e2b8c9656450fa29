// How fresh the service is, and what is wrong.

import { ask, askAnyway } from "/page/api.js";
import { count, formatAgo, formatNumber, formatTime, h } from "/page/dom.js";
import { skeleton, tell } from "/page/parts.js";

const ROLES = { current: "Current", candidate: "Candidate", previous: "Previous" };

export function statusView() {
  const body = h("div", null, skeleton(6));
  const again = h("button", { type: "button", onclick: refresh }, "Refresh");

  async function refresh() {
    again.disabled = true;
    try {
      const [status, ready] = await Promise.all([ask("/status"), askAnyway("/ready")]);
      body.replaceChildren(...describe(status, ready));
    } catch (error) {
      tell(body, error, refresh);
    } finally {
      again.disabled = false;
    }
  }

  refresh();
  return h("div", { class: "single" }, h("div", { class: "part-head" }, h("h1", null, "Status"), again), body);
}

function describe(status, ready) {
  const isReady = ready.status === "ready";
  const problems = [...(isReady ? [] : [ready.got ?? ready.title]), ...status.problems];
  return [
    h("div", { class: `notice ${problems.length ? "bad" : status.stale.length ? "warn" : "good"}` },
      h("strong", null, problems.length ? (isReady ? "It answers, with problems" : "It is not ready") : status.stale.length ? "It answers, but is stale" : "It is ready, and fresh"),
      ...[...problems, ...status.stale].map((text) => h("p", null, text))),
    h("div", { class: "cards" }, ...status.versions.map((version) => showVersion(version, status))),
    h("h2", null, "Journal"),
    facts([
      ["Last entry", formatNumber(status.seq)],
      ["In the newest snapshot", status.snapshot_seq ? `up to entry ${formatNumber(status.snapshot_seq)}` : "none yet"],
      ["Size", formatBytes(status.journal_bytes)],
    ]),
    h("h2", null, "Service"),
    facts([
      ["Started", `${formatTime(status.started_at)} (${formatAgo(status.started_at)})`],
      ["Process", String(status.worker)],
      ["This key", status.tenant ? `${status.scope}, for ${status.tenant} alone` : status.scope],
    ]),
  ];
}

function showVersion(version, status) {
  const share = version.role === "candidate" ? `answers ${Math.round(1000 * status.share) / 10}% of users` : null;
  return h("section", { class: "card", "aria-label": ROLES[version.role] }, h("div", { class: "card-head" }, h("h2", null, ROLES[version.role]), h("code", { class: "soft" }, version.version)),
    version.role === "previous" ? h("p", { class: "soft" }, "Kept to go back to.") : facts([
      ["Catalogue", version.name],
      ["Holds", `${count(version.n_items, "item")}, ${count(version.n_users, "user")}`],
      ["Trained", `${formatTime(version.trained_at)} (${formatAgo(version.trained_at)})`],
      ["Synced", version.synced_at ? `${formatTime(version.synced_at)} (${formatAgo(version.synced_at)})` : "never"],
      ...(share ? [["Share", share]] : []),
    ]));
}

function facts(rows) {
  return h("dl", { class: "facts" }, ...rows.map(([name, value]) => h("div", null, h("dt", null, name), h("dd", null, value))));
}

function formatBytes(n) {
  for (const [unit, size] of [["GB", 1e9], ["MB", 1e6], ["kB", 1e3]]) if (n >= size) return `${(n / size).toFixed(1)} ${unit}`;
  return `${n} bytes`;
}
