// Where a file comes in: by choosing it, by dropping it anywhere on the panel, or by pasting texts.

import { h, newId } from "../dom.js";
import { TYPES, pasted } from "../tables.js";

/** A drop zone; `onFile(file)` is given each file of `types`, and what is pasted, where these are texts. */
export function dropZone({ title, hint, onFile, types = TYPES }) {
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
  return h(
    "div",
    { class: "drop" },
    h("div", {}, h("strong", {}, title), h("p", { class: "muted" }, hint)),
    h("div", { class: "drop-ways" }, input, h("label", { for: id, class: "button" }, "Choose a file")),
    types === TYPES && pasteBox(onFile),
  );
}

function pasteBox(onFile) {
  const area = h("textarea", {
    rows: 4,
    spellcheck: "false",
    "aria-label": "Texts, one a line, or cells of a spreadsheet",
    placeholder: "One text a line, or cells copied out of a spreadsheet, with the names of their columns",
  });
  return h(
    "details",
    { class: "paste" },
    h("summary", {}, "Paste texts"),
    area,
    h("button", { type: "button", onclick: () => area.value.trim() && onFile(pasted(area.value)) }, "Use these"),
  );
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

/**
 * Selects for the columns of a table that was read, and what is to be known of it; `onChoose({text, label, pair})` is
 * given names, "" for no label and no pair. What the service reads by its name has no "none": a label where `always`
 * says so, and `text_pair`.
 */
export function columnChoice(table, onChoose, { always = false } = {}) {
  const { names, columns, by_content, notes } = table.read;
  const pick = { text: columns.text, label: columns.label ?? "", pair: columns.pair ?? "" };
  const select = (label, name, options) => {
    const id = newId(name);
    const element = h(
      "select",
      {
        id,
        onchange: () => {
          pick[name] = element.value;
          onChoose(pick);
        },
      },
      options,
    );
    element.value = pick[name];
    return h("div", { class: "field" }, h("label", { for: id }, label), element);
  };
  const options = (given) => given.map((name) => h("option", { value: name }, name));
  const none = (isKept) => (isKept ? [] : [h("option", { value: "" }, "none")]);
  return h(
    "div",
    {},
    h(
      "div",
      { class: "columns" },
      select("Column of the texts", "text", options(names)),
      select("Column of the labels", "label", [
        ...none(always && Boolean(columns.label) && !by_content),
        ...options(names),
      ]),
      columns.pair &&
        select("Column of the second texts", "pair", [
          ...none(columns.pair.toLowerCase() === "text_pair"),
          ...options(names),
        ]),
    ),
    notes.length > 0 &&
      h(
        "ul",
        { class: "muted small notes" },
        notes.map((note) => h("li", {}, note)),
      ),
  );
}
