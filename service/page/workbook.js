// Cells of the first sheet of an .xlsx file: a zip archive of XML, read here so that nobody has to save it as CSV first.

const MOST_BYTES = 64 * 1024 * 1024; // of one part, unpacked
const END_OF_DIRECTORY = 0x06054b50;
const ENTRY = 0x02014b50;
const STORED = 0;
const DEFLATED = 8;

/** Lines of cells, texts by column, 0 for A, where there is one; raises Error where it is no workbook. */
export async function readWorkbook(name, buffer) {
  const parts = directory(name, new DataView(buffer));
  const sheet = await xml(name, buffer, parts, firstSheet([...parts.keys()]));
  const strings = parts.has("xl/sharedStrings.xml") ? await xml(name, buffer, parts, "xl/sharedStrings.xml") : null;
  const shared = strings ? [...strings.getElementsByTagName("si")].map(textOf) : [];
  return [...sheet.getElementsByTagName("row")].map((row) => cellsOf(row, shared));
}

/** Parts of the archive by name, {offset, size, method}: what its directory at the end says. */
function directory(name, view) {
  let end = view.byteLength - 22;
  while (end >= 0 && view.getUint32(end, true) !== END_OF_DIRECTORY) end -= 1;
  if (end < 0) throw new Error(`${name} is no workbook: save it as .xlsx or CSV.`);
  const parts = new Map();
  let place = view.getUint32(end + 16, true);
  for (let left = view.getUint16(end + 10, true); left > 0; left -= 1) {
    if (place + 46 > view.byteLength || view.getUint32(place, true) !== ENTRY)
      throw new Error(`${name} is damaged: save it again.`);
    const [nameLength, extra, comment] = [28, 30, 32].map((offset) => view.getUint16(place + offset, true));
    const own = new TextDecoder().decode(new Uint8Array(view.buffer, place + 46, nameLength));
    parts.set(own, {
      method: view.getUint16(place + 10, true),
      size: view.getUint32(place + 20, true),
      offset: view.getUint32(place + 42, true),
    });
    place += 46 + nameLength + extra + comment;
  }
  return parts;
}

function firstSheet(names) {
  const numbered = names.filter((name) => /^xl\/worksheets\/sheet\d+\.xml$/.test(name));
  return numbered.sort((a, b) => Number(a.match(/\d+/)) - Number(b.match(/\d+/)))[0];
}

/** One part as a document. */
async function xml(name, buffer, parts, part) {
  const found = parts.get(part);
  if (!found) throw new Error(`${name} has no sheet that can be read: save it as .xlsx or CSV.`);
  const view = new DataView(buffer);
  const start = found.offset + 30 + view.getUint16(found.offset + 26, true) + view.getUint16(found.offset + 28, true);
  const packed = new Blob([new Uint8Array(buffer, start, found.size)]);
  if (![STORED, DEFLATED].includes(found.method))
    throw new Error(`${name} is packed in a way that is not read here: save it as CSV.`);
  const stream =
    found.method === STORED ? packed.stream() : packed.stream().pipeThrough(new DecompressionStream("deflate-raw"));
  const document = new DOMParser().parseFromString(await bounded(name, stream), "application/xml");
  if (document.getElementsByTagName("parsererror").length) throw new Error(`${name} is damaged: save it again.`);
  return document;
}

/** The stream's text, of which no more is ever held than is bearable. */
async function bounded(name, stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  const pieces = [];
  for (let size = 0; ;) {
    const { value, done } = await reader.read().catch(() => {
      throw new Error(`${name} is damaged: save it again.`);
    });
    if (done) return pieces.join("");
    size += value.length;
    if (size > MOST_BYTES) {
      await reader.cancel();
      throw new Error(
        `${name} holds more than this page can read: save the sheet as CSV and send it with the command line.`,
      );
    }
    pieces.push(value);
  }
}

/** What a row holds, by column; many cells are there for their colour alone. */
function cellsOf(row, shared) {
  const cells = new Map();
  let next = 0;
  for (const cell of row.getElementsByTagName("c")) {
    const column = columnOf(cell.getAttribute("r") ?? "") ?? next;
    const value = valueOf(cell, shared);
    if (value.trim()) cells.set(column, value);
    next = column + 1;
  }
  return cells;
}

/** 0 for A1, 27 for AB7. */
function columnOf(reference) {
  const letters = reference.match(/^[A-Z]{1,3}/)?.[0];
  return letters ? [...letters].reduce((sum, letter) => sum * 26 + letter.charCodeAt(0) - 64, 0) - 1 : null;
}

function valueOf(cell, shared) {
  const kind = cell.getAttribute("t");
  if (kind === "inlineStr") return textOf(cell);
  const value = cell.getElementsByTagName("v")[0]?.textContent ?? "";
  return kind === "s" ? (shared[Number(value)] ?? "") : value;
}

/** The runs of a text, without how it is pronounced (rPh). */
function textOf(element) {
  return [...element.getElementsByTagName("t")]
    .filter((run) => run.parentNode.nodeName !== "rPh")
    .map((run) => run.textContent)
    .join("");
}
