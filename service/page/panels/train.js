// Train: a file, what is in it, a preset and a name; then the run as curves, which survive reloads and restarts.

import { ApiError } from "../api.js";
import { h } from "../dom.js";
import { may } from "../keys.js";
import { problem } from "../parts/problem.js";
import { jobView } from "../training/job_view.js";
import { jobList } from "../training/jobs.js";
import { newJob } from "../training/new_job.js";

export function mount(root, values) {
  const board = h("div", {});
  let parts = [];
  let isOpen = null;
  const onScopes = () => may("train") !== isOpen && begin(); // what was dropped and filled in stays
  const onKey = () => values.job && begin(); // another key, another owner
  root.append(
    h(
      "header",
      { class: "panel-head" },
      h("h1", {}, "Train"),
      h("p", {}, "Your texts become an adapter set; the backbone stays as it is."),
    ),
    board,
  );
  window.addEventListener("scopes-known", onScopes);
  window.addEventListener("key-given", onKey);
  begin();
  window.scrollTo(0, 0); // the button that begins a run stands far below its head
  return {
    end() {
      window.removeEventListener("scopes-known", onScopes);
      window.removeEventListener("key-given", onKey);
      end();
    },
  };

  function begin() {
    end();
    parts = [];
    isOpen = may("train");
    if (isOpen) {
      parts = values.job ? [jobView(values.job)] : [newJob(values.again), jobList()];
      board.replaceChildren(...parts.map((part) => part.element));
    } else
      board.replaceChildren(
        problem(
          new ApiError(403, {
            message: "Your key lacks the scope train: ask who runs the service for one that has it.",
            code: "missing_scope",
          }),
        ),
      );
  }

  function end() {
    parts.forEach((part) => part.end());
  }
}
