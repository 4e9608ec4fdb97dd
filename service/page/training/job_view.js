// One training job, live: how far it is, its curves, its events, and what it has become.

import { ApiError, call, events, send } from "../api.js";
import { h, refill, tell } from "../dom.js";
import { actionBar } from "../parts/actions.js";
import { curves } from "../parts/curves.js";
import { problem } from "../parts/problem.js";
import { runner } from "../parts/runner.js";
import * as sets from "../sets.js";
import { MEASURES, duration, number, pill } from "./said.js";

const AGAIN_MS = 1500;
const CALM_MS = 500; // of a stream without an error: what was wrong is over
const OPEN = ["queued", "running", "paused"];

/** {element, end()} of the job with this id. */
export function jobView(id) {
  let job = null;
  let shownOutcome = "";
  let isOver = false;
  const controller = new AbortController();
  const outlet = h("div", { class: "outlet" });
  const head = h("div", { class: "job-head", tabindex: "-1" });
  const bar = h("progress", { max: 1, value: 0, "aria-label": "Share of the run" });
  const figures = h("p", { class: "muted job-figures" });
  const done = h("div", { class: "job-done" });
  const charts = curves();
  const told = h("ol", {});
  const log = h("div", { class: "events", tabindex: "0", role: "log", "aria-label": "Events" }, told);
  const changing = runner({ outlet, busy: head, work: (signal) => change(signal) });
  let change = async () => {};
  const element = h(
    "div",
    {},
    h("p", {}, h("a", { href: "#/train" }, "All runs, or a new one")),
    head,
    bar,
    figures,
    outlet,
    done,
    charts.element,
    h("h2", { class: "events-head" }, "Events"),
    log,
    actionBar({ request: () => ({ method: "GET", path: `/v1/fine_tuning/jobs/${id}/events` }) }),
  );
  follow();
  return {
    element,
    end() {
      isOver = true;
      controller.abort();
      changing.end();
      charts.end();
    },
  };

  /** Reads the job and its events until it is finished; after a broken connection it goes on from the last event. */
  async function follow() {
    charts.begin().catch(() => {}); // the run is told without its curves, too
    let last = "";
    while (!isOver) {
      let calm = 0;
      try {
        await refresh();
        const headers = { accept: "text/event-stream", ...(last ? { "last-event-id": last } : {}) };
        const reply = await send("GET", `/v1/fine_tuning/jobs/${encodeURIComponent(id)}/events`, {
          headers,
          signal: controller.signal,
        });
        calm = setTimeout(() => outlet.replaceChildren(), CALM_MS);
        if (reply.status === 204) return await refresh(); // all was told before the connection was lost
        for await (const event of events(reply)) {
          if (event.data === "[DONE]") {
            await refresh();
            return;
          }
          if (event.id) last = event.id;
          take(JSON.parse(event.data));
        }
      } catch (error) {
        if (isOver || error.name === "AbortError") return;
        clearTimeout(calm);
        if (error instanceof ApiError) {
          fail(error);
          if (!error.isPassing) return waitForKey(error);
        }
      }
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
    }
  }

  /** Says what went wrong; what is said already is not said again at every try. */
  function fail(error) {
    if (outlet.textContent.includes(error.message)) return;
    outlet.replaceChildren(problem(error));
  }

  function waitForKey(error) {
    if (error.status === 401 || error.status === 403)
      window.addEventListener("key-given", () => !isOver && follow(), { once: true });
  }

  async function refresh() {
    const before = job?.status;
    job = await call("GET", `/v1/fine_tuning/jobs/${encodeURIComponent(id)}`, { signal: controller.signal });
    show();
    if (job.status !== "succeeded") return;
    if (before && before !== "succeeded") tell(`${job.suffix} is ready`);
    sets.learn(job.fine_tuned_model).catch(() => {}); // it may be gone by now
  }

  function take(event) {
    if (event.type === "metrics") {
      charts.add(event.data);
      progress(event.data);
      if (job && job.status === "queued") refreshSoon();
      return;
    }
    told.prepend(
      h(
        "li",
        { class: `is-${event.level}` },
        h("time", {}, new Date(event.created_at * 1000).toLocaleTimeString("en-GB")),
        " ",
        event.message,
      ),
    );
    refreshSoon();
  }

  function refreshSoon() {
    clearTimeout(refreshSoon.timer);
    refreshSoon.timer = setTimeout(() => !isOver && refresh().catch(() => {}), 250);
  }

  function progress(figure) {
    bar.value = figure.total_steps ? figure.step / figure.total_steps : 0;
    const isOpen = job && OPEN.includes(job.status) && figure.step < figure.total_steps;
    const parts = [
      figure.stage && figure.stage !== "training" && job?.status === "running" ? figure.stage : "",
      figure.total_steps
        ? `step ${figure.step.toLocaleString("en")} of ${figure.total_steps.toLocaleString("en")}`
        : "",
      figure.tokens_per_s ? `${Math.round(figure.tokens_per_s).toLocaleString("en")} tokens a second` : "",
      isOpen && figure.eta_s ? `about ${duration(figure.eta_s)} left` : "",
    ];
    figures.textContent = parts.filter(Boolean).join(" · ");
  }

  function show() {
    const act = (name) =>
      h(
        "button",
        {
          type: "button",
          class: name === "cancel" ? "danger" : "",
          onclick: () => {
            change = async (signal) => {
              try {
                await call("POST", `/v1/fine_tuning/jobs/${id}/${name}`, { signal });
              } finally {
                await refresh(); // whether or not it was taken
              }
            };
            changing.run();
          },
        },
        name[0].toUpperCase() + name.slice(1),
      );
    const actions =
      { queued: ["pause", "cancel"], running: ["pause", "cancel"], paused: ["resume", "cancel"] }[job.status] ?? [];
    refill(
      head,
      h("h2", {}, job.suffix),
      pill(job.status),
      h("span", { class: "muted" }, `${job.hyperparameters.preset} · z of ${job.hyperparameters.latent_size}`),
      h("div", { class: "actions" }, actions.map(act)),
    );
    element.dataset.status = job.status;
    if (job.progress) progress(job.progress);
    if (job.status === "succeeded") bar.value = 1;
    const outcome = JSON.stringify([job.status, job.error, job.metrics]);
    if (outcome === shownOutcome) return; // an alert is read out whenever it is made anew
    shownOutcome = outcome;
    done.replaceChildren(
      ...(job.status === "succeeded" ? [ready()] : []),
      ...(job.error ? [ended()] : []),
      ...(["failed", "cancelled"].includes(job.status) ? [again()] : []),
    );
  }

  function ended() {
    return problem(new ApiError(-1, { message: job.error.message, code: job.error.code }), null, "The run failed");
  }

  function again() {
    return h("p", {}, h("a", { class: "button", href: `#/train?again=${id}` }, "Change and train again"));
  }

  function ready() {
    const shown = Object.entries(job.metrics ?? {}).filter(
      ([name, value]) => typeof value === "number" && MEASURES[name],
    );
    return h(
      "div",
      { class: "ready" },
      h("p", {}, h("strong", {}, job.fine_tuned_model), " is installed and serves."),
      h(
        "dl",
        { class: "figures" },
        shown.map(([name, value]) => h("div", {}, h("dd", {}, number(value)), h("dt", {}, MEASURES[name]))),
      ),
      h(
        "p",
        {},
        h("a", { class: "button main", href: `#/walk?set=${encodeURIComponent(job.suffix)}` }, "Open in the walk"),
        " ",
        h("a", { class: "button", href: `#/map?set=${encodeURIComponent(job.suffix)}` }, "Draw a map"),
      ),
    );
  }
}
