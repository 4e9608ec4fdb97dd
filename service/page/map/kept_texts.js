// The texts of the map: kept by the tab, so that they survive its reload, and as a part of a link.

import * as sets from "../sets.js";
import { TextTable } from "../tables.js";

const KEPT = "adavae.map";

/** Keeps them, where they are not too many for the storage of a tab. */
export function keep(table) {
  try {
    sessionStorage.setItem(
      KEPT,
      JSON.stringify({ name: table.name, rows: table.rows, isOwn: Boolean(table.isOwn), set: table.set ?? null }),
    );
  } catch {
    sessionStorage.removeItem(KEPT);
  }
}

/** Those that were kept: a user's own, or those that the chosen set wrote; null where there are none. */
export function keptTable() {
  try {
    const kept = JSON.parse(sessionStorage.getItem(KEPT));
    if (!kept || (!kept.isOwn && kept.set !== sets.current()?.id)) return null;
    return Object.assign(new TextTable(kept.name, kept.rows), { isOwn: kept.isOwn, set: kept.set });
  } catch {
    return null;
  }
}

/** Texts as one value of an address: a line each; with a label, or a tab of its own, after a label and a tab. */
export function linkedTexts(table) {
  const { labels } = table;
  return table.texts
    .map(inOneLine)
    .map((text, row) => (labels || text.includes("\t") ? `${labels ? spaced(labels[row]) : ""}\t${text}` : text))
    .join("\n");
}

const inOneLine = (text) => text.replace(/\s*[\r\n]\s*/g, " ");

const spaced = (label) => label.replace(/\s+/g, " ");

/** The table that an address holds, or null. */
export function linkedTable(value) {
  const lines = (value ?? "").split("\n").filter((line) => line.trim());
  if (!lines.length) return null;
  const rows = lines.map((line) => {
    const [label, text] = line.includes("\t") ? line.split(/\t(.*)/s, 2) : ["", line];
    return { text, label };
  });
  return Object.assign(new TextTable("From the link", rows), { isOwn: true });
}
