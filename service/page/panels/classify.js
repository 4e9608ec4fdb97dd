// Classify: a text and the score of every label; a file and a table of labels to take away.

import { replaceAddress } from "../address.js";
import { call } from "../api.js";
import { afterPause, download, h } from "../dom.js";
import { examplesFor } from "../examples.js";
import { actionBar } from "../parts/actions.js";
import { acceptDrops, columnChoice, dropZone } from "../parts/drop.js";
import { fieldFor, stateOf } from "../parts/fields.js";
import { FileSource } from "../parts/file_source.js";
import { gauge } from "../parts/gauge.js";
import { runner } from "../parts/runner.js";
import * as sets from "../sets.js";
import { toCsv } from "../tables.js";

const PAUSE_MS = 180;
const BATCH = 128;
const SHOWN_ROWS = 200;
const MOST_ROWS = 50_000;

export function mount(root, values) {
  const state = stateOf({ text: "" }, values);
  let request = null;
  let scores = [];
  const outlet = h("div", { class: "outlet" });
  const bars = h("div", { class: "bars", "aria-live": "polite" });
  const chips = h("div", { class: "chips", role: "group", "aria-label": "Examples" });
  const others = h("p", { class: "muted" });
  const running = runner({ outlet, busy: bars, work: load, onError: () => bars.replaceChildren() });
  const soon = afterPause(running.run, PAUSE_MS);
  const text = fieldFor({ name: "text", label: "Text", kind: "text" }, state, soon);
  const table = fileCard();

  root.append(
    h(
      "header",
      { class: "panel-head" },
      h("h1", {}, "Classify"),
      h("p", {}, "How sure the set's head is of each of its labels."),
    ),
    text,
    chips,
    others,
    outlet,
    bars,
    h(
      "div",
      { class: "under-stage" },
      h("div", {}),
      actionBar({
        text: () => scores.map((each) => `${each.label}\t${each.score}`).join("\n"),
        request: () => request,
      }),
    ),
    h(
      "header",
      { class: "panel-head second" },
      h("h2", {}, "A whole file"),
      h("p", {}, "A label for every line, as a table."),
    ),
    table.element,
  );
  acceptDrops(root, table.take);
  window.addEventListener("set-chosen", begin);
  begin();
  return {
    end() {
      soon.cancel();
      running.end();
      table.end();
      window.removeEventListener("set-chosen", begin);
    },
  };

  async function begin() {
    showOthers();
    const examples = await examplesFor(sets.current()).catch(() => null);
    chips.replaceChildren(
      ...(examples?.texts ?? []).map((each) =>
        h("button", { type: "button", class: "chip", onclick: () => set(each) }, each),
      ),
    );
    if (!state.text && examples?.texts[0]) set(examples.texts[0]);
    else soon.now();
  }

  /** A set without a head is no dead end: those that have one are a click away. */
  function showOthers() {
    const labels = sets.current()?.labels ?? [];
    const named = sets.installed().filter((each) => each.current && each.labels.length);
    others.replaceChildren(
      ...(labels.length || !sets.current()
        ? []
        : [
            `${sets.current().name} has no labels. Sets that have some: `,
            ...named.map((each) =>
              h("button", { type: "button", class: "chip", onclick: () => sets.choose(each.name) }, each.name),
            ),
          ]),
    );
  }

  function set(each) {
    state.text = each;
    text.querySelector("textarea").value = each;
    soon.now();
  }

  async function load(signal) {
    replaceAddress("classify", { set: sets.reference(), text: state.text });
    if (!state.text.trim()) {
      bars.replaceChildren();
      return;
    }
    const body = { text: state.text.trim() };
    if (sets.reference()) body.adapter = sets.reference();
    request = { method: "POST", path: "/classify", body };
    const reply = await call("POST", "/classify", { body, signal });
    scores = reply.data[0].scores;
    bars.replaceChildren(...scores.map(bar));
  }

  function bar({ label, score }, index) {
    return h(
      "div",
      { class: index ? "bar-row" : "bar-row is-first" },
      h("span", { class: "bar-label" }, label),
      gauge(score),
      h("span", { class: "bar-score" }, percent(score)),
    );
  }
}

function fileCard() {
  const outlet = h("div", { class: "outlet" });
  const progress = h("progress", { max: 1, value: 0, "aria-label": "Texts classified", hidden: true });
  const result = h("div", {
    class: "table-box",
    tabindex: "0",
    role: "region",
    "aria-label": "Labels of the file",
    hidden: true,
  });
  const columns = h("div", {});
  const head = h("div", { class: "table-head" });
  const source = new FileSource();
  let table = null;
  const running = runner({ outlet, busy: result, work: load });
  const element = h(
    "div",
    {},
    dropZone({
      title: "Drop a file here",
      hint: "A spreadsheet, .txt, .tsv, .csv, .jsonl, .json or .parquet, also compressed",
      onFile: take,
    }),
    columns,
    outlet,
    progress,
    head,
    result,
  );
  return { element, take, end: running.end };

  function take(file) {
    source.take(file);
    columns.replaceChildren();
    running.run();
  }

  function choose(columns) {
    source.choose(columns);
    running.run();
  }

  async function load(signal) {
    const found = await source.read(MOST_ROWS, signal);
    if (found) {
      table = found;
      columns.replaceChildren(...(table.hasColumns ? [columnChoice(table, choose)] : []));
    }
    if (!table) return;
    const { texts } = table;
    const labels = [];
    progress.hidden = false;
    progress.value = 0;
    for (let start = 0; start < texts.length; start += BATCH) {
      const body = { texts: texts.slice(start, start + BATCH), truncate: true, top_k: 1 };
      if (sets.reference()) body.adapter = sets.reference();
      const reply = await call("POST", "/classify", { body, signal });
      labels.push(...reply.data.map((row) => row.scores[0]));
      progress.value = labels.length / texts.length;
    }
    progress.hidden = true;
    show(texts, labels);
  }

  function show(texts, labels) {
    const counts = new Map();
    for (const { label } of labels) counts.set(label, (counts.get(label) ?? 0) + 1);
    const said = [...counts]
      .sort((a, b) => b[1] - a[1])
      .map(([label, count]) => `${label} ${count}`)
      .join(" · ");
    const given = table.labels;
    const numRight = given ? labels.filter(({ label }, index) => label === given[index]).length : 0;
    const isSame = given && given.some((label) => counts.has(label));
    const csv = () =>
      toCsv(
        ["text", "label", "score", ...(given ? ["given"] : [])],
        texts.map((text, index) => [text, labels[index].label, labels[index].score, ...(given ? [given[index]] : [])]),
      );
    head.replaceChildren(
      h(
        "p",
        { role: "status" },
        `${table.read.has_more ? "The first " : ""}${texts.length} texts: ${said}${isSame ? ` · ${percent(numRight / texts.length)} as given` : ""}`,
      ),
      h(
        "button",
        {
          type: "button",
          class: "main",
          onclick: () => download(`${table.name.replace(/\.\w+$/, "")}-labels.csv`, csv(), "text/csv;charset=utf-8"),
        },
        "Download CSV",
      ),
    );
    result.hidden = false;
    result.replaceChildren(
      h(
        "table",
        {},
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            h("th", { scope: "col" }, "Label"),
            h("th", { scope: "col" }, "Score"),
            h("th", { scope: "col" }, "Text"),
          ),
        ),
        h(
          "tbody",
          {},
          texts
            .slice(0, SHOWN_ROWS)
            .map((text, index) =>
              h(
                "tr",
                {},
                h("td", {}, labels[index].label),
                h("td", { class: "number" }, percent(labels[index].score)),
                h("td", {}, text),
              ),
            ),
        ),
      ),
      texts.length > SHOWN_ROWS && h("p", { class: "muted" }, `The first ${SHOWN_ROWS}; the download has them all.`),
    );
  }
}

const percent = (score) => `${(score * 100).toFixed(score > 0.0005 && score < 0.9995 ? 1 : 0)} %`;
