// Train: a file, what is in it, a preset and a name; then the run as curves, which survive reloads and restarts.

import { go } from "../address.js";
import { ApiError, call, events, send } from "../api.js";
import { h, tell } from "../dom.js";
import { may } from "../keys.js";
import { curves } from "../parts/curves.js";
import { acceptDrops, columnChoice, dropZone } from "../parts/drop.js";
import { fieldFor } from "../parts/fields.js";
import { gauge } from "../parts/gauge.js";
import { problem } from "../parts/problem.js";
import { runner } from "../parts/runner.js";
import * as sets from "../sets.js";
import { guess, readFile, readPasted } from "../tables.js";

const AGAIN_MS = 1500;
const OPEN = ["queued", "running", "paused"];
const SENT_AS_IT_IS = /\.(xz)$/i;
const PRESETS = [
  ["generation", "Generation", "Walks, analogies, new sentences. Also learns labels where the texts have them."],
  ["language-modelling", "Language modelling", "For measuring: perplexity, KL, mutual information."],
  ["classification", "Classification", "Labels first; the texts need some."],
];

export function mount(root, values) {
  const board = h("div", {});
  let parts = [];
  root.append(h("header", { class: "panel-head" }, h("h1", {}, "Train"), h("p", {}, "Your texts become an adapter set; the backbone stays as it is.")), board);
  window.addEventListener("scopes-known", begin);
  begin();
  return {
    end() {
      window.removeEventListener("scopes-known", begin);
      end();
    },
  };

  function begin() {
    end();
    parts = [];
    if (may("train")) {
      parts = values.job ? [jobView(values.job)] : [newJob(), jobList()];
      board.replaceChildren(...parts.map((part) => part.element));
    } else board.replaceChildren(problem(new ApiError(403, { message: "Your key lacks the scope train: ask who runs the service for one that has it.", code: "missing_scope" })));
  }

  function end() {
    parts.forEach((part) => part.end());
  }
}

/** From a file to a job. */
function newJob() {
  let file = null;
  let sent = null;
  let once = newKey();
  const state = { name: "", preset: "generation", epochs: "", steps: "", batch: "", latent: "" };
  const [outlet, formOutlet] = [h("div", { class: "outlet" }), h("div", { class: "outlet" })];
  const report = h("div", {});
  const columns = h("div", {});
  const form = h("form", { class: "job-form", hidden: true, onsubmit: (event) => { event.preventDefault(); once = newKey(); starting.run(); } });
  const uploading = runner({ outlet, busy: report, work: upload, onError: () => { form.hidden = true; report.replaceChildren(); } });
  const starting = runner({ outlet: formOutlet, busy: form, work: start });
  const element = h(
    "div",
    { class: "new-job" },
    dropZone({ title: "Drop your texts here", hint: "A spreadsheet (.xlsx, .csv, .tsv) with a column of texts, perhaps one of labels; .txt with one a line; .jsonl with text and label. Cells can be pasted, too.", types: ".txt,.tsv,.csv,.xlsx,.jsonl,.xz,.tab,.ndjson", onFile: take, onPaste: (text) => use(() => readPasted(text)) }),
    columns, outlet, report, form, formOutlet,
  );
  acceptDrops(element, take);
  return {
    element,
    end() {
      uploading.end();
      starting.end();
    },
  };

  async function take(given) {
    if (SENT_AS_IT_IS.test(given.name)) {
      columns.replaceChildren();
      file = given;
      uploading.run();
      return;
    }
    await use(() => readFile(given), given);
  }

  /** Files that the service reads go as they are; tables are sent as JSON lines, with the columns that are chosen. */
  async function use(read, given = null) {
    let table;
    try {
      table = await read();
    } catch (error) {
      uploading.cancel();
      form.hidden = true;
      report.replaceChildren();
      outlet.replaceChildren(h("div", { class: "problem", role: "alert" }, error.message));
      return;
    }
    const isTable = table.columns !== null && !/\.tsv$/i.test(table.name);
    const chosen = (own) => {
      file = new File([own.toJsonLines()], `${own.name.replace(/\.\w+$/, "")}.jsonl`);
      uploading.run();
    };
    columns.replaceChildren(...(isTable ? [columnChoice(table, guess(table), chosen)] : []));
    if (isTable || given === null) chosen(table);
    else {
      file = given;
      uploading.run();
    }
  }

  async function upload(signal) {
    report.replaceChildren(h("p", { class: "muted" }, `Reading ${file.name}…`));
    const body = new FormData();
    body.append("purpose", "fine-tune");
    body.append("file", file, file.name);
    const reply = await send("POST", "/v1/files", { form: body, signal });
    sent = await reply.json();
    report.replaceChildren(reportOf(sent));
    state.name = nameFrom(sent.filename);
    if (Object.keys(sent.labels).length === 0 && state.preset === "classification") state.preset = "generation";
    showForm();
  }

  function showForm() {
    const hasLabels = Object.keys(sent.labels).length > 0;
    const name = h("input", { type: "text", id: "job-name", required: true, pattern: "[a-z0-9][a-z0-9._\\-]{0,63}", value: state.name, autocomplete: "off", oninput: () => { state.name = name.value; } });
    form.hidden = false;
    form.replaceChildren(
      h("fieldset", { class: "presets" }, h("legend", { class: "visually-hidden" }, "Preset"),
        PRESETS.map(([value, title, what]) =>
          h("label", { class: "preset" }, h("input", { type: "radio", name: "preset", value, checked: state.preset === value, disabled: value === "classification" && !hasLabels, onchange: () => { state.preset = value; } }),
            h("span", {}, h("strong", {}, title), h("span", { class: "muted" }, what)))),
      ),
      h("div", { class: "fields" },
        h("div", { class: "field" }, h("label", { for: "job-name" }, "Name of the set"), name),
        h("details", { class: "advanced" }, h("summary", {}, "More"),
          h("div", { class: "fields" },
            [["epochs", "Epochs", 0.01, 100, 0.01], ["steps", "Steps", 1, 1000000, 1], ["batch", "Texts a step", 1, 1024, 1], ["latent", "Size of z", 1, 1024, 1]].map(([key, label, min, max, step]) =>
              fieldFor({ name: key, label, kind: "number", min, max, step, placeholder: "the preset's" }, state, () => {})))),
        h("button", { type: "submit", class: "main" }, "Train"),
      ),
    );
  }

  async function start(signal) {
    const hyperparameters = { preset: state.preset };
    for (const [key, name] of [["epochs", "n_epochs"], ["steps", "steps"], ["batch", "batch_size"], ["latent", "latent_size"]]) {
      if (state[key] !== "") hyperparameters[name] = state[key];
    }
    const body = { model: "bundled", training_file: sent.id, suffix: state.name, hyperparameters };
    const job = await call("POST", "/v1/fine_tuning/jobs", { body, signal, headers: { "idempotency-key": once } });
    go("train", { job: job.id });
  }
}

/** A key of its own for one press of the button: a request that is sent again makes no second job. */
function newKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function reportOf({ filename, report, labels }) {
  const most = Math.max(1, ...Object.values(labels));
  const named = Object.entries(labels).sort((a, b) => b[1] - a[1]);
  const figure = (number, what) => h("div", {}, h("dd", {}, number.toLocaleString("en")), h("dt", {}, what));
  return h(
    "div",
    { class: "report" },
    h("h2", {}, filename),
    h("dl", { class: "figures" },
      figure(report.rows, "texts"), figure(Object.keys(labels).length, "labels"), figure(report.tokens.median, "tokens, median"), figure(report.tokens.p90, "tokens, 90 %"), figure(report.tokens.longest, "tokens, longest"), figure(report.exact_duplicates, "copies")),
    named.length > 0 && h("div", { class: "bars" }, named.slice(0, 12).map(([label, count]) => h("div", { class: "bar-row" }, h("span", { class: "bar-label" }, label), gauge(count / most), h("span", { class: "bar-score" }, count.toLocaleString("en"))))),
    named.length > 12 && h("p", { class: "muted small" }, `and ${named.length - 12} more labels`),
    report.warnings.length > 0
      ? h("ul", { class: "warnings" }, report.warnings.map((warning) => h("li", {}, warning)))
      : h("p", { class: "muted" }, "Nothing odd was found."),
  );
}

function nameFrom(filename) {
  const name = filename.toLowerCase().replace(/(\.xz)?$/, "").replace(/\.\w+$/, "").replace(/[^a-z0-9._-]+/g, "-").replace(/^[^a-z0-9]+|-+$/g, "").slice(0, 64);
  return name || "mine";
}

/** Jobs there are, newest first. */
function jobList() {
  const outlet = h("div", { class: "outlet" });
  const list = h("div", { class: "jobs" });
  const loading = runner({ outlet, busy: list, work: load });
  loading.run();
  return { element: h("div", {}, h("header", { class: "panel-head second" }, h("h2", {}, "Runs")), outlet, list), end: loading.end };

  async function load(signal) {
    const { data } = await call("GET", "/v1/fine_tuning/jobs?limit=50", { signal });
    list.replaceChildren(
      data.length
        ? h("ul", {}, data.map((job) =>
            h("li", {}, h("a", { href: `#/train?job=${job.id}` }, h("strong", {}, job.suffix), pill(job.status), h("span", { class: "muted" }, `${job.hyperparameters.preset} · ${textsOf(job)}${when(job.created_at)}`)))))
        : h("p", { class: "muted" }, "None yet."),
    );
  }
}

/** One job, live. */
function jobView(id) {
  let job = null;
  let isOver = false;
  const controller = new AbortController();
  const outlet = h("div", { class: "outlet" });
  const head = h("div", { class: "job-head" });
  const bar = h("progress", { max: 1, value: 0, "aria-label": "Share of the run" });
  const figures = h("p", { class: "muted job-figures", role: "status" });
  const done = h("div", { class: "job-done" });
  const charts = curves();
  const told = h("ol", { class: "events", tabindex: "0", role: "log", "aria-label": "Events" });
  const changing = runner({ outlet, busy: head, work: (signal) => change(signal) });
  let change = async () => {};
  const element = h(
    "div",
    {},
    h("p", {}, h("a", { href: "#/train" }, "All runs, or a new one")),
    head, bar, figures, outlet, done, charts.element, h("h2", { class: "events-head" }, "Events"), told,
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
    await charts.begin();
    let last = "";
    while (!isOver) {
      try {
        await refresh();
        outlet.replaceChildren();
        const headers = { accept: "text/event-stream", ...(last ? { "last-event-id": last } : {}) };
        const reply = await send("GET", `/v1/fine_tuning/jobs/${encodeURIComponent(id)}/events`, { headers, signal: controller.signal });
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
        if (error instanceof ApiError) {
          outlet.replaceChildren(problem(error));
          if (!error.isPassing) return waitForKey(error);
        }
      }
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
    }
  }

  function waitForKey(error) {
    if (error.status === 401 || error.status === 403) window.addEventListener("key-given", () => !isOver && follow(), { once: true });
  }

  async function refresh() {
    const before = job?.status;
    job = await call("GET", `/v1/fine_tuning/jobs/${encodeURIComponent(id)}`, { signal: controller.signal });
    show();
    if (job.status === "succeeded" && before && before !== "succeeded") {
      tell(`${job.suffix} is ready`);
      await sets.load();
    }
  }

  function take(event) {
    if (event.type === "metrics") {
      charts.add(event.data);
      progress(event.data);
      if (job && job.status === "queued") refreshSoon();
      return;
    }
    told.prepend(h("li", { class: `is-${event.level}` }, h("time", {}, new Date(event.created_at * 1000).toLocaleTimeString("en-GB")), " ", event.message));
    refreshSoon();
  }

  function refreshSoon() {
    clearTimeout(refreshSoon.timer);
    refreshSoon.timer = setTimeout(() => !isOver && refresh().catch(() => {}), 250);
  }

  function progress(figure) {
    bar.value = figure.step / figure.total_steps;
    const left = job && OPEN.includes(job.status) && figure.step < figure.total_steps ? ` · about ${duration(figure.eta_s)} left` : "";
    const stage = figure.stage && figure.stage !== "training" && job?.status === "running" ? `${figure.stage} · ` : "";
    figures.textContent = `${stage}step ${figure.step.toLocaleString("en")} of ${figure.total_steps.toLocaleString("en")} · ${Math.round(figure.tokens_per_s).toLocaleString("en")} tokens a second${left}`;
  }

  function show() {
    const act = (name) =>
      h("button", { type: "button", class: name === "cancel" ? "danger" : "", onclick: () => {
        change = async (signal) => {
          await call("POST", `/v1/fine_tuning/jobs/${id}/${name}`, { signal });
          await refresh();
        };
        changing.run();
      } }, name[0].toUpperCase() + name.slice(1));
    const actions = { queued: ["pause", "cancel"], running: ["pause", "cancel"], paused: ["resume", "cancel"] }[job.status] ?? [];
    head.replaceChildren(h("h2", {}, job.suffix), pill(job.status), h("span", { class: "muted" }, `${job.hyperparameters.preset} · z of ${job.hyperparameters.latent_size}`), h("div", { class: "actions" }, actions.map(act)));
    element.dataset.status = job.status;
    if (job.progress) progress(job.progress);
    if (job.status === "succeeded") bar.value = 1;
    done.replaceChildren(
      ...(job.status === "succeeded" ? [ready()] : []),
      ...(job.error ? [problem(new ApiError(409, { message: job.error.message, code: job.error.code }))] : []),
    );
  }

  function ready() {
    const shown = Object.entries(job.metrics ?? {}).filter(([name, value]) => typeof value === "number" && NAMES[name]);
    return h(
      "div",
      { class: "ready" },
      h("p", {}, h("strong", {}, job.fine_tuned_model), " is installed and serves."),
      h("dl", { class: "figures" }, shown.map(([name, value]) => h("div", {}, h("dd", {}, number(value)), h("dt", {}, NAMES[name])))),
      h("p", {}, h("a", { class: "button main", href: `#/walk?set=${encodeURIComponent(job.suffix)}` }, "Open in the walk"), " ", h("a", { class: "button", href: `#/map?set=${encodeURIComponent(job.suffix)}` }, "Draw a map")),
    );
  }
}

/** How many texts a job trains on, where its report says so. */
function textsOf(job) {
  const rows = job.report?.training_file?.rows;
  return rows === undefined ? "" : `${rows.toLocaleString("en")} texts · `;
}

const NAMES = { accuracy: "accuracy", bleu4: "BLEU-4", exact_match: "exact", neg_elbo: "−ELBO", kl: "KL", mi: "MI", au: "active units", ppl: "perplexity" };

const number = (value) => (Math.abs(value) >= 1000 ? Math.round(value).toLocaleString("en") : Number(value.toPrecision(3)).toString());

const pill = (status) => h("span", { class: `pill is-${status}` }, status);

const when = (seconds) => new Date(seconds * 1000).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" });

function duration(seconds) {
  if (seconds < 90) return `${Math.max(1, Math.round(seconds))} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}
