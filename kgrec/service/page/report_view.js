// The report of `kgrec evaluate`, in a frame where no script runs and nothing is loaded.

import { askText } from "/page/api.js";
import { h } from "/page/dom.js";
import { empty, skeleton, tell } from "/page/parts.js";

export function reportView() {
  const body = h("div", { class: "report-body" }, skeleton(8));
  const refresh = () => askText("/report").then(
    (text) => {
      const frame = h("iframe", { class: "report", title: "Evaluation report", src: "/page/report_frame.html", sandbox: "allow-same-origin" });
      frame.addEventListener("load", () => {
        fill(frame.contentDocument, parse(frame, text));
        followTheme(frame);
      });
      body.replaceChildren(frame);
    },
    (error) => error.status === 404
      ? body.replaceChildren(empty("There is no evaluation report", "Write one with `kgrec evaluate … --out FOLDER`, and start the service with `--report FOLDER`."))
      : tell(body, error, refresh),
  );
  refresh();
  return h("div", { class: "wide" }, h("h1", null, "Evaluation"), body);
}

// Gives the frame the light or dark of the page, now and when it is switched.
function followTheme(frame) {
  const scheme = frame.contentDocument.querySelector("meta[name=color-scheme]");
  const follow = () => (scheme.content = document.documentElement.dataset.theme ?? "light dark");
  const watch = new MutationObserver(() => (frame.isConnected ? follow() : watch.disconnect()));
  watch.observe(document.documentElement, { attributeFilter: ["data-theme"] });
  follow();
}

// Parsed by the frame: the policy of the page allows no styles within a document.
function parse(frame, text) {
  return new frame.contentWindow.DOMParser().parseFromString(text, "text/html");
}

function fill(frame, report) {
  report.querySelectorAll("script, iframe, object, embed, link, base, meta[http-equiv]").forEach((element) => element.remove());
  const scheme = frame.createElement("meta");
  scheme.name = "color-scheme";
  frame.head.replaceChildren(scheme, ...report.head.querySelectorAll("style, title"));
  frame.body.replaceChildren(...report.body.childNodes);
  frame.documentElement.lang = report.documentElement.lang || "en";
}
