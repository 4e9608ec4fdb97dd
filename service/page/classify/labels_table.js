// What was found for a file: how often each label, the first rows, and all of them to take away.

import { download, h } from "../dom.js";
import { toCsv } from "../tables.js";

const SHOWN_ROWS = 200;

export const percent = (score) => `${(score * 100).toFixed(score > 0.0005 && score < 0.9995 ? 1 : 0)} %`;

/** The line above the table with its download; `labelling` may have stopped on its way. */
export function labelsHead(labelling) {
  const { table } = labelling;
  const save = () =>
    download(`${table.name.replace(/\.\w+$/, "")}-labels.csv`, csvOf(labelling), "text/csv;charset=utf-8");
  return [
    h("p", { role: "status" }, said(labelling)),
    h("button", { type: "button", class: "main", onclick: save }, "Download CSV"),
  ];
}

/** The first rows. */
export function labelsTable({ table, found }) {
  const names = ["Label", "Score", "Text"].map((name) => h("th", { scope: "col" }, name));
  const line = ({ label, score }, index) =>
    h(
      "tr",
      {},
      h("td", {}, label),
      h("td", { class: "number" }, percent(score)),
      h("td", {}, table.rows[index].text),
    );
  return [
    h(
      "table",
      {},
      h("thead", {}, h("tr", {}, names)),
      h("tbody", {}, found.slice(0, SHOWN_ROWS).map(line)),
    ),
    ...(found.length > SHOWN_ROWS
      ? [h("p", { class: "muted" }, `The first ${SHOWN_ROWS}; the download has them all.`)]
      : []),
  ];
}

function said({ table, found, adapter, isWhole }) {
  const counts = new Map();
  for (const { label } of found) counts.set(label, (counts.get(label) ?? 0) + 1);
  const parts = [...counts].sort((a, b) => b[1] - a[1]).map(([label, count]) => `${label} ${count}`);
  const given = table.labels;
  const numRight = given ? found.filter(({ label }, index) => label === given[index]).length : 0;
  if (given?.some((label) => counts.has(label))) parts.push(`${percent(numRight / found.length)} as given`);
  const first = table.read.has_more || !isWhole ? "The first " : "";
  return `${first}${found.length} texts by ${adapter}: ${parts.join(" · ")}`;
}

function csvOf({ table, found }) {
  const given = table.labels;
  return toCsv(
    ["text", "label", "score", ...(given ? ["given"] : [])],
    found.map(({ label, score }, index) => [
      table.rows[index].text,
      label,
      score,
      ...(given ? [given[index]] : []),
    ]),
  );
}
