// A file whose every line gets a label: where it comes in, how far it is, and what was found.

import { h, refill } from "../dom.js";
import { columnChoice, dropZone } from "../parts/drop.js";
import { FileSource } from "../parts/file_source.js";
import { runner } from "../parts/runner.js";
import * as sets from "../sets.js";
import { Labelling } from "./labelling.js";
import { labelsHead, labelsTable } from "./labels_table.js";

const MOST_ROWS = 50_000;

/** {element, take(file), end()}. */
export function fileCard() {
  const outlet = h("div", { class: "outlet" });
  const bar = h("progress", { max: 1, value: 0, "aria-label": "Texts classified" });
  const soFar = h("p", { class: "muted small" });
  const progress = h("div", { hidden: true }, bar, soFar);
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
  let labelling = null;
  const running = runner({ outlet, busy: result, work: load, onError: stop });
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

  /** Begins with what is new; without it goes on where an error stopped it. */
  async function load(signal) {
    const found = await source.read(MOST_ROWS, signal);
    if (found) refill(columns, ...(found.hasColumns ? [columnChoice(found, choose)] : []));
    const table = found ?? labelling?.table;
    if (!table) return;
    if (found || !labelling.found.length) labelling = new Labelling(table, sets.reference());
    showProgress();
    await labelling.goOn(signal, showProgress);
    progress.hidden = true;
    show();
  }

  function showProgress() {
    const [number, all] = [labelling.found.length, labelling.table.rows.length];
    progress.hidden = false;
    bar.value = number / all;
    soFar.textContent = number ? `${number} of ${all} texts, by ${labelling.adapter}` : "";
  }

  /** What was found until then can be read and taken away. */
  function stop() {
    progress.hidden = true;
    if (labelling?.found.length) show();
  }

  function show() {
    head.replaceChildren(...labelsHead(labelling));
    result.hidden = false;
    result.replaceChildren(...labelsTable(labelling));
  }
}
