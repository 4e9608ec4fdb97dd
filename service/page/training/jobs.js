// Training jobs there are, newest first.

import { call } from "../api.js";
import { h } from "../dom.js";
import { runner } from "../parts/runner.js";
import { pill, when } from "./said.js";

/** {element, end()} of the list. */
export function jobList() {
  const outlet = h("div", { class: "outlet" });
  const list = h("div", { class: "jobs" });
  const loading = runner({ outlet, busy: list, work: load });
  loading.run();
  window.addEventListener("key-given", loading.run); // another key, other runs
  return {
    element: h("div", {}, h("header", { class: "panel-head second" }, h("h2", {}, "Runs")), outlet, list),
    end() {
      window.removeEventListener("key-given", loading.run);
      loading.end();
    },
  };

  async function load(signal) {
    const { data } = await call("GET", "/v1/fine_tuning/jobs?limit=50", { signal });
    list.replaceChildren(
      data.length
        ? h(
            "ul",
            {},
            data.map((job) =>
              h(
                "li",
                {},
                h(
                  "a",
                  { href: `#/train?job=${job.id}` },
                  h("strong", {}, job.suffix),
                  pill(job.status),
                  h(
                    "span",
                    { class: "muted" },
                    `${job.hyperparameters.preset} · ${textsOf(job)}${when(job.created_at)}`,
                  ),
                ),
              ),
            ),
          )
        : h("p", { class: "muted" }, "None yet."),
    );
  }
}

/** How many texts a job trains on, where its report says so. */
function textsOf(job) {
  const rows = job.report?.training_file?.rows;
  return rows === undefined ? "" : `${rows.toLocaleString("en")} texts · `;
}
