// Texts out of files and out of the clipboard, all of them read by the service; and tables back into CSV.

import { call } from "./api.js";
import { readWorkbook } from "./workbook.js";

/** What files may end in; the service says so of any other. */
export const TYPES = ".txt,.tsv,.csv,.xlsx,.jsonl,.json,.parquet,.gz,.xz,.zst,.tab,.ndjson";

const MOST_COLUMNS = 256;
const OTHER_NAMES = [
  [/\.tab$/i, ".tsv"],
  [/\.ndjson$/i, ".jsonl"],
];

/** Rows of {text, label}, and where they come from. */
export class TextTable {
  /** `read` is what the service said of the file: names, columns, notes; null where the rows come from elsewhere. */
  constructor(name, rows, read = null) {
    this.name = name;
    this.rows = rows;
    this.read = read;
  }

  get texts() {
    return this.rows.map((row) => row.text);
  }

  /** Labels, one a row; null unless every row has one. */
  get labels() {
    return this.rows.length && this.rows.every((row) => row.label) ? this.rows.map((row) => row.label) : null;
  }

  /** Whether there is a choice of columns. */
  get hasColumns() {
    return (this.read?.names.length ?? 0) > 1;
  }
}

/** A file as the service takes it: a workbook's first sheet as CSV, with the usual ending, nothing unseen in its name. */
export async function sendable(file) {
  const name = file.name.replace(/[\p{C}\u2028\u2029]/gu, "");
  if (/\.xlsx$/i.test(name)) return sheetOf(name, file);
  const [from, to] = OTHER_NAMES.find(([ending]) => ending.test(name)) ?? [/$/, ""];
  return new File([file], name.replace(from, to));
}

/** What was pasted, as a file: cells of a spreadsheet where every line has a tab, lines of text otherwise. */
export function pasted(text) {
  const lines = text.split(/\r?\n/).filter((line) => line.trim());
  const isTable = lines.length > 1 && lines.every((line) => line.includes("\t"));
  return new File([text], isTable ? "pasted.tsv" : "pasted.txt");
}

/** The form that sends a file; `columns` has names by text, label and pair, each of which may be left out. */
export function formOf(file, columns = {}) {
  const form = new FormData();
  for (const [part, name] of Object.entries(columns)) if (name) form.append(`${part}_column`, name);
  form.append("file", file, file.name);
  return form;
}

/**
 * The first `limit` rows of a file that is `sendable`, by the service's own reader; raises ApiError with what is wrong.
 * Columns that are not named are guessed; where `label` is "" the rows have none.
 */
export async function readTable(file, { columns = {}, limit, signal }) {
  const read = await call("POST", `/read?limit=${limit}`, { form: formOf(file, columns), signal });
  if (columns.label === "") delete read.columns.label;
  const rows = read.data.map(({ text, label }) => ({ text, label: read.columns.label ? (label ?? "") : "" }));
  return new TextTable(file.name, rows, read);
}

/** The first sheet, without columns that are empty; of a single column every cell is a text. */
async function sheetOf(filename, file) {
  const lines = (await readWorkbook(filename, await file.arrayBuffer())).filter((cells) => cells.size);
  const columns = [...new Set(lines.flatMap((cells) => [...cells.keys()]))].sort((a, b) => a - b);
  const name = filename.replace(/\.xlsx$/i, "");
  if (columns.length > MOST_COLUMNS)
    throw new Error(
      `${filename} has ${columns.length} columns with something in them, and ${MOST_COLUMNS} are read: save those that are wanted as CSV.`,
    );
  const rows = lines.map((cells) => columns.map((column) => cells.get(column) ?? ""));
  const isList = columns.length < 2;
  const written = rows.map((cells) => (isList ? cells[0].replace(/\s+/g, " ") : cells.map(quoted).join(",")));
  return new File([written.map((line) => `${line}\n`).join("")], `${name}.${isList ? "txt" : "csv"}`);
}

const quoted = (cell) => (/[",\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell);

const MARK = "\ufeff"; // without it spreadsheets read letters beyond ASCII as others

/** Lines of CSV; a cell that a spreadsheet would run as a formula is kept as text. */
export function toCsv(header, lines) {
  const safe = (value) => (typeof value === "string" && /^[=+\-@\t]/.test(value) ? `'${value}` : String(value ?? ""));
  return MARK + [header, ...lines].map((cells) => `${cells.map((cell) => quoted(safe(cell))).join(",")}\r\n`).join("");
}
