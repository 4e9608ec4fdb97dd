// Where a file comes in: by choosing it, by dropping it anywhere on the panel, or by pasting texts.

import { h, newId } from "../dom.js";

const TYPES = ".txt,.tsv,.csv,.xlsx,.jsonl,.tab,.ndjson";

/** A drop zone; `onFile(file)` is given each file, `onPaste(text)` pasted texts (null: no pasting). */
export function dropZone({ title, hint, types = TYPES, onFile, onPaste = null }) {
  const id = newId("file");
  const input = h("input", {
    id,
    type: "file",
    class: "visually-hidden",
    accept: types,
    onchange: () => {
      if (input.files[0]) onFile(input.files[0]);
      input.value = "";
    },
  });
  const area =
    onPaste &&
    h("textarea", {
      rows: 4,
      spellcheck: "false",
      "aria-label": "Texts, one a line, or cells of a spreadsheet",
      placeholder: "One text a line, or cells copied out of a spreadsheet",
    });
  const zone = h(
    "div",
    { class: "drop" },
    h("div", {}, h("strong", {}, title), h("p", { class: "muted" }, hint)),
    h("div", { class: "drop-ways" }, input, h("label", { for: id, class: "button" }, "Choose a file")),
    onPaste &&
      h(
        "details",
        { class: "paste" },
        h("summary", {}, "Paste texts"),
        area,
        h("button", { type: "button", onclick: () => area.value.trim() && onPaste(area.value) }, "Use these"),
      ),
  );
  return zone;
}

/** Lets files be dropped anywhere on `root`. */
export function acceptDrops(root, onFile) {
  const isFile = (event) => event.dataTransfer?.types.includes("Files");
  root.addEventListener("dragover", (event) => {
    if (!isFile(event)) return;
    event.preventDefault();
    root.classList.add("is-over");
  });
  root.addEventListener("dragleave", (event) => {
    if (!root.contains(event.relatedTarget)) root.classList.remove("is-over");
  });
  root.addEventListener("drop", (event) => {
    if (!isFile(event)) return;
    event.preventDefault();
    root.classList.remove("is-over");
    if (event.dataTransfer.files[0]) onFile(event.dataTransfer.files[0]);
  });
}

/** Two selects for the columns of a table; `onChoose(table)` is given it with the columns taken. */
export function columnChoice(table, chosen, onChoose) {
  const pick = { ...chosen };
  const apply = () => onChoose(table.choose(pick.text, pick.label));
  const select = (label, name, options) => {
    const id = newId(name);
    const element = h(
      "select",
      {
        id,
        onchange: () => {
          pick[name] = element.value === "" ? null : Number(element.value);
          apply();
        },
      },
      options,
    );
    element.value = pick[name] === null ? "" : String(pick[name]);
    return h("div", { class: "field" }, h("label", { for: id }, label), element);
  };
  const columns = table.columns.map((column, place) => h("option", { value: String(place) }, column));
  return h(
    "div",
    { class: "columns" },
    select("Column of the texts", "text", columns),
    select("Column of the labels", "label", [
      h("option", { value: "" }, "none"),
      ...columns.map((option) => option.cloneNode(true)),
    ]),
  );
}
