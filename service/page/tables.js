// Texts out of files and out of the clipboard: .txt, .tsv, .csv, .jsonl, .xlsx; and tables back into CSV.

import { readWorkbook } from "./workbook.js";

/** Rows of {text, label?}, and where they come from. */
export class TextTable {
  constructor(name, rows, { columns = null, cells = null } = {}) {
    this.name = name;
    this.rows = rows;
    this.columns = columns; // names of a table's columns, where the text's column is a choice
    this.cells = cells;
  }

  get texts() {
    return this.rows.map((row) => row.text);
  }

  /** Labels, one a row; null unless every row has one. */
  get labels() {
    return this.rows.length && this.rows.every((row) => row.label) ? this.rows.map((row) => row.label) : null;
  }

  /** The same table with the text, and perhaps the label, taken from these columns. */
  choose(textColumn, labelColumn) {
    const rows = this.cells
      .map((cells) => ({
        text: clean(cells[textColumn]),
        label: labelColumn === null ? "" : clean(cells[labelColumn]),
      }))
      .filter((row) => row.text);
    return new TextTable(this.name, rows, { columns: this.columns, cells: this.cells });
  }

  /** One JSON object a line, which the service takes whatever is in the texts. */
  toJsonLines() {
    const labelled = this.labels !== null;
    return this.rows.map(({ text, label }) => `${JSON.stringify(labelled ? { text, label } : { text })}\n`).join("");
  }
}

const clean = (cell) => (cell ?? "").replace(/\s+/g, " ").trim();

/** Reads a file; raises Error with what is wrong and what to do. */
export async function readFile(file) {
  if (/\.xlsx$/i.test(file.name)) return readCells(file.name, await readWorkbook(file.name, await file.arrayBuffer()));
  return readTable(file.name, await file.text());
}

/** Reads a file's text; raises Error with what is wrong and what to do. */
export function readTable(name, content) {
  const text = content.replace(/^\ufeff/, "");
  const ending = name.toLowerCase().split(".").pop();
  if (/[\u0000]/.test(text.slice(0, 4000)))
    throw new Error(`${name} is no text file: save it as CSV, TSV or plain text.`);
  if (ending === "jsonl" || ending === "ndjson") return readJsonLines(name, text);
  if (ending === "csv") return readCells(name, parseCells(text, commonest(text, [",", ";", "\t"])));
  if (ending === "tsv" || ending === "tab") return readCells(name, parseCells(text, "\t"));
  return readLines(name, text);
}

/** What was pasted: cells of a spreadsheet where every line has a tab, lines of text otherwise. */
export function readPasted(text) {
  const lines = text.split(/\r?\n/).filter((line) => line.trim());
  const isTable = lines.length > 1 && lines.every((line) => line.includes("\t"));
  return isTable ? readCells("pasted", parseCells(text, "\t")) : readLines("pasted", text);
}

function readLines(name, text) {
  const rows = text
    .split(/\r?\n/)
    .map(clean)
    .filter(Boolean)
    .map((line) => ({ text: line, label: "" }));
  return filled(new TextTable(name, rows));
}

function readJsonLines(name, text) {
  const rows = [];
  for (const [number, line] of text.split(/\r?\n/).entries()) {
    if (!line.trim()) continue;
    let entry;
    try {
      entry = JSON.parse(line);
    } catch {
      throw new Error(
        `${name}, line ${number + 1} is not JSON: every line is an object like {"text": "...", "label": "..."}.`,
      );
    }
    if (typeof entry?.text !== "string") throw new Error(`${name}, line ${number + 1} has no "text".`);
    rows.push({ text: clean(entry.text), label: typeof entry.label === "string" ? entry.label : "" });
  }
  return filled(
    new TextTable(
      name,
      rows.filter((row) => row.text),
    ),
  );
}

/** A table: which column is the text is guessed, by name or by length, and stays a choice. */
function readCells(name, lines) {
  const width = lines.reduce((most, cells) => Math.max(most, cells.length), 0);
  if (width < 2) return readLines(name, lines.map((cells) => cells[0] ?? "").join("\n"));
  const hasHeader = isHeader(lines);
  const names = hasHeader ? lines[0] : [];
  const columns = Array.from({ length: width }, (_, place) => clean(names[place]) || `column ${place + 1}`);
  const cells = hasHeader ? lines.slice(1) : lines;
  const table = new TextTable(name, [], { columns, cells });
  const textColumn = guessText(columns, cells);
  return filled(table.choose(textColumn, guessLabel(columns, cells, textColumn)));
}

/** The first line names columns where it has no longer texts than a name has, and the others do. */
function isHeader(lines) {
  const [first, ...rest] = lines;
  if (!first || !rest.length) return false;
  if (first.some((cell) => /^(text|label|sentence|review|comment|class|category)s?$/i.test(cell.trim()))) return true;
  const longest = (cells) => Math.max(...cells.map((cell) => cell.length));
  return (
    longest(first) <= 24 && median(rest.map(longest)) > longest(first) * 1.5 && new Set(first).size === first.length
  );
}

/** {text, label} columns of a table as it is first shown. */
export function guess(table) {
  const text = guessText(table.columns, table.cells);
  return { text, label: guessLabel(table.columns, table.cells, text) };
}

function guessText(columns, cells) {
  const named = columns.findIndex((name) => /^(text|sentence|review|comment|message|body|content)s?$/i.test(name));
  if (named >= 0) return named;
  const lengths = columns.map((_, place) => median(cells.map((row) => (row[place] ?? "").length)));
  return lengths.indexOf(Math.max(...lengths));
}

function guessLabel(columns, cells, textColumn) {
  const others = columns.map((_, place) => place).filter((place) => place !== textColumn);
  const named = others.find((place) =>
    /^(label|class|category|sentiment|stars|rating|type)e?s?$/i.test(columns[place]),
  );
  if (named !== undefined) return named;
  const isFew = (place) => {
    const values = cells.map((row) => clean(row[place]));
    const different = new Set(values);
    return !different.has("") && different.size > 1 && different.size <= Math.max(2, Math.min(50, cells.length / 5));
  };
  return others.find(isFew) ?? null;
}

/** Cells by RFC 4180: quotes around what holds a separator, a quote or a line break. */
export function parseCells(text, separator) {
  const lines = [];
  let cells = [];
  let cell = "";
  let isQuoted = false;
  for (let place = 0; place < text.length; place += 1) {
    const character = text[place];
    if (isQuoted) {
      if (character !== '"') cell += character;
      else if (text[place + 1] === '"') {
        cell += '"';
        place += 1;
      } else isQuoted = false;
    } else if (character === '"' && cell === "" && separator !== "\t") isQuoted = true;
    else if (character === '"' && cell === "" && separator === "\t" && closes(text, place)) isQuoted = true;
    else if (character === separator) {
      cells.push(cell);
      cell = "";
    } else if (character === "\n" || character === "\r") {
      if (character === "\r" && text[place + 1] === "\n") place += 1;
      lines.push([...cells, cell]);
      cells = [];
      cell = "";
    } else cell += character;
  }
  if (cell || cells.length) lines.push([...cells, cell]);
  return lines.filter((row) => row.some((each) => each.trim()));
}

/** In tab-separated texts a quote mostly is a quote: it only encloses a cell where its partner ends one. */
function closes(text, place) {
  const end = text.indexOf('"', place + 1);
  return end > 0 && /^"(?:\t|\r|\n|$|")/.test(text.slice(end, end + 2));
}

function commonest(text, separators) {
  const first = text.slice(0, text.search(/\r?\n|$/));
  const counts = separators.map((separator) => first.split(separator).length);
  return separators[counts.indexOf(Math.max(...counts))];
}

function filled(table) {
  if (!table.rows.length)
    throw new Error(`${table.name} has no texts: one text a line, or a table with a column of texts.`);
  return table;
}

function median(numbers) {
  const sorted = [...numbers].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? 0;
}

/** Lines of CSV; a cell that a spreadsheet would run as a formula is kept as text. */
export function toCsv(header, lines) {
  const quoted = (value) => {
    const cell = typeof value === "string" && /^[=+\-@\t]/.test(value) ? `'${value}` : String(value ?? "");
    return /[",\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell;
  };
  return [header, ...lines].map((cells) => `${cells.map(quoted).join(",")}\r\n`).join("");
}
