// Sentences along a way, one of them large: a slider under it, ticks where it changes, and all of them in a list below.

import { h } from "../dom.js";
import { numChanged } from "../words.js";
import { marked } from "./marked.js";
import { trail } from "./trail.js";

/**
 * `.stage` and `.list` are the two elements; `.show(rows, at)` takes rows {place, text, said?, also?} and which of them to begin
 * with, `.select(index)` goes to one, `.say(node)` stands in for the sentence. `onSelect(index)` hears of every choice.
 */
export function stageOf({ label, onSelect }) {
  let rows = [];
  const sentence = h("p", { class: "hero-sentence" }, "\u00a0");
  const where = h("p", { class: "where muted" }, "\u00a0");
  const ticks = h("div", { class: "ticks", "aria-hidden": "true" });
  const slider = h("input", {
    type: "range",
    class: "hero-slider",
    min: 0,
    max: 1,
    step: 1,
    value: 0,
    disabled: true,
    "aria-label": label,
    oninput: () => select(Number(slider.value)),
  });
  const list = trail((index) => {
    select(index);
    slider.focus({ preventScroll: true });
  });
  const stage = h("div", { class: "stage" }, sentence, h("div", { class: "track" }, ticks, slider), where);
  return { stage, list: list.element, show, select, say };

  function show(next, at) {
    rows = next;
    slider.max = rows.length - 1;
    slider.disabled = false;
    list.show(rows);
    ticks.replaceChildren(
      ...rows.map((row, index) => h("i", { class: index && row.text !== rows[index - 1].text ? "is-new" : "" })),
    );
    select(at);
  }

  function select(index) {
    const row = rows[index];
    if (!row) return;
    slider.value = index;
    slider.style.setProperty("--at", String(rows.length > 1 ? index / (rows.length - 1) : 0));
    slider.setAttribute("aria-valuetext", `${row.place}: ${row.text}`);
    const before = index ? rows[index - 1].text : null;
    sentence.replaceChildren(h("span", {}, ...(before === row.text ? [row.text] : marked(before, row.text))));
    where.textContent = [
      row.place,
      `step ${index + 1} of ${rows.length}`,
      ...said(row, before),
      ...(row.also ?? []),
    ].join(" · ");
    list.select(index);
    onSelect(index);
  }

  function say(node) {
    rows = [];
    slider.disabled = true;
    ticks.replaceChildren();
    list.show([]);
    where.textContent = "\u00a0";
    sentence.replaceChildren(node);
  }
}

/** What there is to say about one step. */
function said(row, before) {
  if (row.said) return [row.said];
  if (before === null) return [];
  if (before === row.text) return ["as the step before"];
  const { added, gone } = numChanged(before, row.text);
  const told = (number, what) => (number ? [`${number} ${number === 1 ? "word" : "words"} ${what}`] : []);
  const all = [...told(added, "new"), ...told(gone, "gone")];
  return all.length ? all : ["the same words as before"];
}
