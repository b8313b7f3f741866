"use strict";
// Asks for the report anew whenever the record has grown, and keeps what the
// reader has opened and where the reader is.
(function () {
  const events = new EventSource("events");
  let busy = false, again = false;
  async function refresh() {
    if (busy) { again = true; return; }
    busy = true;
    try {
      const answer = await fetch("body", { cache: "no-store" });
      if (!answer.ok) return;
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("report");
      const old = document.getElementById("report");
      const folds = (root) => Array.from(root.querySelectorAll("section.host")).flatMap((host) =>
        Array.from(host.querySelectorAll("details"), (fold, i) => [host.dataset.host + " " + i, fold]));
      const was = new Map(folds(old).map(([name, fold]) => [name, fold.open]));
      for (const [name, fold] of folds(fresh)) if (was.has(name)) fold.open = was.get(name);
      old.replaceWith(document.adoptNode(fresh));
    } finally {
      busy = false;
      if (again) { again = false; refresh(); }
    }
  }
  events.addEventListener("grown", refresh);
})();
