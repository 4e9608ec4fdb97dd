// From a file to a training job: what is in it, a preset, a name.

import { go } from "../address.js";
import { call } from "../api.js";
import { h, refill } from "../dom.js";
import { actionBar } from "../parts/actions.js";
import { acceptDrops, columnChoice, dropZone } from "../parts/drop.js";
import { fieldFor } from "../parts/fields.js";
import { FileSource } from "../parts/file_source.js";
import { runner } from "../parts/runner.js";
import { newKey } from "./once.js";
import { reportOf } from "./report.js";
import { number } from "./said.js";
import { Uploads } from "./uploads.js";

// Options that a run leaves to its preset, as [field of the form, name in the request, label, least, most, step].
const OPTIONS = [
  ["epochs", "n_epochs", "Epochs", 0.01, 100, 0.01],
  ["steps", "steps", "Steps", 1, 1000000, 1],
  ["batch", "batch_size", "Texts a step", 1, 1024, 1],
  ["latent", "latent_size", "Size of z", 1, 1024, 1],
  ["rate", "learning_rate", "Learning rate", 0.000001, 1, "any"],
  ["beta", "beta", "β, weight of the KL", 0, 100, "any"],
  ["freeBits", "free_bits", "Free bits", 0, 100, "any"],
];
const LOOKED_AT = 1; // rows: the columns are asked for, and what is in them is in the report
const PRESETS = [
  ["generation", "Generation", "Walks, analogies, new sentences. Also learns labels where the texts have them."],
  ["language-modelling", "Language modelling", "For measuring: perplexity, KL, mutual information."],
  ["classification", "Classification", "Labels first; the texts need some."],
];

/** {element, end()} of the form; it goes to the job once that is made. `again` is a job whose texts are taken once more. */
export function newJob(again = "") {
  const source = new FileSource();
  const uploads = new Uploads();
  let named = ""; // the file that a user gave, which may be sent as another one
  let isNew = false; // and whose name the set has not been given yet
  let chosen = {}; // names of its columns
  let sent = null;
  let before = {}; // what an earlier run trained with
  let once = newKey();
  let isStarting = false;
  const state = { name: "", preset: "generation", ...Object.fromEntries(OPTIONS.map(([key]) => [key, ""])) };
  const [outlet, formOutlet] = [h("div", { class: "outlet" }), h("div", { class: "outlet" })];
  const report = h("div", {});
  const columns = h("div", {});
  const form = h("form", {
    class: "job-form",
    hidden: true,
    onsubmit: (event) => {
      event.preventDefault();
      if (isStarting) return; // one press, or two in a row: one job
      once = newKey();
      starting.run();
    },
  });
  const uploading = runner({
    outlet,
    busy: report,
    work: upload,
    onError: () => {
      form.hidden = true;
      report.replaceChildren();
    },
  });
  const starting = runner({
    outlet: formOutlet,
    busy: form,
    work: start,
    onError: (error) => {
      isStarting = false;
      if (!error.isPassing) uploads.keep(false);
    },
  });
  const element = h(
    "div",
    { class: "new-job" },
    dropZone({
      title: "Drop your texts here",
      hint: "A spreadsheet (.xlsx, .csv, .tsv) with a column of texts, perhaps one of labels; .txt with one a line; .jsonl, .json or .parquet with text and label; also compressed. Cells can be pasted, too.",
      onFile: take,
    }),
    columns,
    outlet,
    report,
    form,
    formOutlet,
  );
  acceptDrops(element, take);
  const repeating = runner({ outlet, busy: report, work: repeat });
  if (again) repeating.run();
  const onKey = () => source.file && uploading.run(); // another key, another owner of what is sent
  window.addEventListener("key-given", onKey);
  return {
    element,
    end() {
      window.removeEventListener("key-given", onKey);
      uploading.end();
      starting.end();
      repeating.end();
    },
  };

  /** The texts of an earlier run, with its name and preset; its options are told where they may be changed. */
  async function repeat(signal) {
    const job = await call("GET", `/v1/fine_tuning/jobs/${encodeURIComponent(again)}`, { signal });
    sent = await call("GET", `/v1/files/${encodeURIComponent(job.training_file)}`, { signal });
    before = job.hyperparameters;
    Object.assign(state, { name: job.suffix, preset: before.preset });
    report.replaceChildren(reportOf(sent));
    showForm();
  }

  function take(given) {
    source.take(given);
    [named, isNew] = [given.name, true];
    columns.replaceChildren();
    uploading.run();
  }

  /** Asks which columns there are, where that is not known yet. */
  async function look(signal) {
    const table = await source.read(LOOKED_AT, signal);
    if (!table) return;
    chosen = table.read.columns;
    const choose = (names) => {
      chosen = { ...chosen, ...names };
      uploading.run();
    };
    refill(columns, ...(table.hasColumns ? [columnChoice(table, choose, { always: true })] : []));
  }

  /** What an option is without a value: the preset's, or what an earlier run had. */
  function unset(name) {
    return typeof before[name] === "number" ? `last time ${number(before[name])}` : "the preset's";
  }

  async function upload(signal) {
    report.replaceChildren(h("p", { class: "muted" }, `Reading ${named}…`));
    await look(signal);
    if (!source.file) {
      report.replaceChildren();
      return;
    }
    sent = await uploads.send(source.file, chosen, signal);
    before = {};
    report.replaceChildren(reportOf({ ...sent, filename: named }));
    if (isNew) state.name = nameFrom(named);
    isNew = false;
    if (Object.keys(sent.labels).length === 0 && state.preset === "classification") state.preset = "generation";
    showForm();
  }

  function showForm() {
    const hasLabels = Object.keys(sent.labels).length > 0;
    const name = h("input", {
      type: "text",
      id: "job-name",
      required: true,
      pattern: "[a-z0-9][a-z0-9._\\-]{0,63}",
      value: state.name,
      autocomplete: "off",
      oninput: () => {
        state.name = name.value;
      },
    });
    form.hidden = false;
    form.replaceChildren(
      h(
        "fieldset",
        { class: "presets" },
        h("legend", { class: "visually-hidden" }, "Preset"),
        PRESETS.map(([value, title, what]) =>
          h(
            "label",
            { class: "preset" },
            h("input", {
              type: "radio",
              name: "preset",
              value,
              checked: state.preset === value,
              disabled: value === "classification" && !hasLabels,
              onchange: () => {
                state.preset = value;
              },
            }),
            h("span", {}, h("strong", {}, title), h("span", { class: "muted" }, what)),
          ),
        ),
      ),
      h(
        "div",
        { class: "fields" },
        h("div", { class: "field" }, h("label", { for: "job-name" }, "Name of the set"), name),
        h(
          "details",
          { class: "advanced", open: Boolean(again) },
          h("summary", {}, "More"),
          h(
            "div",
            { class: "fields" },
            OPTIONS.map(([key, name, label, min, max, step]) =>
              fieldFor({ name: key, label, kind: "number", min, max, step, placeholder: unset(name) }, state, () => {}),
            ),
          ),
        ),
        h("button", { type: "submit", class: "main" }, "Train"),
      ),
      actionBar({ request: () => ({ ...jobRequest(), note: noteOf(sent) }), link: false }),
    );
  }

  function jobRequest() {
    const hyperparameters = { preset: state.preset };
    for (const [key, name] of OPTIONS) {
      if (state[key] !== "") hyperparameters[name] = state[key];
    }
    const body = { model: "bundled", training_file: sent.id, suffix: state.name, hyperparameters };
    return { method: "POST", path: "/v1/fine_tuning/jobs", body };
  }

  async function start(signal) {
    isStarting = true;
    const { method, path, body } = jobRequest();
    uploads.keep(true);
    const job = await call(method, path, { body, signal, headers: { "idempotency-key": once } });
    go("train", { job: job.id });
  }
}

const noteOf = ({ filename }) =>
  `The texts were sent before: POST /v1/files with purpose=fine-tune and file=@${filename} gave the id of training_file.`;

function nameFrom(filename) {
  const name = filename
    .toLowerCase()
    .replace(/(\.xz)?$/, "")
    .replace(/\.\w+$/, "")
    .replace(/[^a-z0-9._-]+/g, "-")
    .replace(/^[^a-z0-9]+|-+$/g, "")
    .slice(0, 64);
  return name || "mine";
}
