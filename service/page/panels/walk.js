// Walk: two sentences, a slider between them, and the sentence at every step.

import { replaceAddress } from "../address.js";
import { call } from "../api.js";
import { afterPause, h } from "../dom.js";
import { examplesFor } from "../examples.js";
import { actionBar } from "../parts/actions.js";
import { DECODING, SAMPLING_SPECS, decodingBody, decodingSpecs } from "../parts/decoding.js";
import { addressValues, fieldFor, stateOf } from "../parts/fields.js";
import { marked } from "../parts/marked.js";
import { runner } from "../parts/runner.js";
import { trail } from "../parts/trail.js";
import * as sets from "../sets.js";
import { numChanged } from "../words.js";

const PAUSE_MS = 180; // after the last key; a request takes about a tenth of a second
const MOST_STEPS = 64;
const DEFAULTS = { source: "", target: "", steps: 9, method: "linear", at: -1, ...DECODING };

export function mount(root, values) {
  const state = stateOf(DEFAULTS, values);
  state.steps = Math.min(MOST_STEPS, Math.max(2, Math.round(state.steps)));
  let rows = [];
  let request = null;

  const outlet = h("div", { class: "outlet" });
  const sentence = h("p", { class: "hero-sentence", "aria-live": "polite" }, "\u00a0");
  const where = h("p", { class: "where muted" }, "\u00a0");
  const ticks = h("div", { class: "ticks", "aria-hidden": "true" });
  const slider = h("input", {
    type: "range", class: "hero-slider", min: 0, max: state.steps - 1, step: 1, "aria-label": "Place between the two sentences",
    oninput: () => select(Number(slider.value)),
  });
  const list = trail((index) => {
    select(index);
    slider.focus();
  });
  const stage = h("div", { class: "stage" }, sentence, h("div", { class: "track" }, ticks, slider), where);
  const options = h("div", { class: "fields" });
  const chips = h("div", { class: "chips", role: "group", "aria-label": "Examples" });
  const more = h("button", { type: "button", class: "quiet", onclick: moreSteps }, "More steps");

  const running = runner({ outlet, busy: stage, work: load });
  const soon = afterPause(running.run, PAUSE_MS);
  const source = fieldFor({ name: "source", label: "From", kind: "text" }, state, typed);
  const target = fieldFor({ name: "target", label: "To", kind: "text" }, state, typed);
  const swap = h("button", { type: "button", class: "quiet swap", title: "Swap the two", "aria-label": "Swap the two sentences", onclick: swapEnds }, "⇄");

  root.append(
    h("header", { class: "panel-head" }, h("h1", {}, "Walk"), h("p", {}, "Two sentences, and every sentence in between. Move the thumb.")),
    h("div", { class: "ends" }, source, swap, target),
    chips,
    outlet,
    stage,
    h("div", { class: "under-stage" }, options, actionBar({ text: () => rows.map((row) => row.text).join("\n"), request: () => request })),
    h("div", { class: "trail-head" }, h("h2", {}, "Every step"), more),
    list.element,
  );
  showOptions();
  window.addEventListener("set-chosen", onSet);
  begin();
  return {
    end() {
      soon.cancel();
      running.end();
      window.removeEventListener("set-chosen", onSet);
    },
  };

  /** Without sentences in the address, the set's first example is walked. */
  async function begin() {
    await showExamples();
    if (!state.source && !state.target && chips.firstElementChild) chips.firstElementChild.click();
    else soon.now();
  }

  async function showExamples() {
    const examples = await examplesFor(sets.current()).catch(() => null);
    if (!examples) return;
    chips.replaceChildren(
      ...examples.walks.map(([from, to]) =>
        h("button", { type: "button", class: "chip", title: `${from} → ${to}`, onclick: () => setEnds(from, to) }, h("span", {}, from), " → ", h("span", {}, to)),
      ),
    );
  }

  async function onSet() {
    await showExamples();
    const isExample = ![...chips.children].some((chip) => chip.title === `${state.source} → ${state.target}`) && !touched;
    if (isExample && chips.firstElementChild) chips.firstElementChild.click();
    else soon.now();
  }

  function setEnds(from, to) {
    [state.source, state.target, state.at] = [from, to, -1];
    source.querySelector("textarea").value = from;
    target.querySelector("textarea").value = to;
    touched = false;
    soon.now();
  }

  function swapEnds() {
    const at = rows.length ? rows.length - 1 - state.at : -1;
    setEnds(state.target, state.source);
    state.at = at;
  }

  function typed() {
    touched = true;
    soon();
  }

  function showOptions() {
    const specs = [
      { name: "method", label: "Way", kind: "segments", values: [["linear", "Line", "Straight through the space"], ["spherical", "Arc", "Along the arc between the two directions"]] },
      { name: "steps", label: "Steps", kind: "range", min: 2, max: MOST_STEPS, step: 1 },
      ...decodingSpecs("/interpolate"),
      ...(state.strategy === "sample" ? SAMPLING_SPECS : []),
    ];
    const changed = (name) => {
      if (name === "strategy") showOptions();
      soon();
    };
    options.replaceChildren(...specs.map((spec) => fieldFor(spec, state, changed)));
  }

  function moreSteps() {
    const at = rows.length > 1 ? state.at / (rows.length - 1) : 0.5;
    state.steps = Math.min(MOST_STEPS, state.steps * 2 - 1);
    state.at = Math.round(at * (state.steps - 1));
    showOptions();
    soon.now();
  }

  async function load(signal) {
    const [from, to] = [state.source.trim(), state.target.trim()];
    saveAddress();
    if (!from || !to) {
      rows = [];
      sentence.replaceChildren(h("span", { class: "muted" }, "Write two sentences."));
      return;
    }
    const body = { source: from, target: to, steps: state.steps, ...decodingBody(state, "/interpolate") };
    if (state.method !== "linear") body.method = state.method;
    if (sets.reference()) body.adapter = sets.reference();
    request = { method: "POST", path: "/interpolate", body };
    const reply = await call("POST", "/interpolate", { body, signal });
    rows = reply.data;
    root.dataset.made = `${reply.adapter.name}@${reply.adapter.version}`;
    show();
  }

  function show() {
    slider.max = rows.length - 1;
    if (state.at < 0 || state.at >= rows.length) state.at = Math.floor(rows.length / 2);
    list.show(rows.map((row) => ({ place: row.tau.toFixed(2), text: row.text })));
    ticks.replaceChildren(...rows.map((row, index) => h("i", { class: index && row.text !== rows[index - 1].text ? "is-new" : "" })));
    more.disabled = rows.length >= MOST_STEPS;
    select(state.at);
  }

  function select(index) {
    if (!rows[index]) return;
    state.at = index;
    slider.value = index;
    slider.style.setProperty("--at", String(index / (rows.length - 1)));
    const row = rows[index];
    const before = index ? rows[index - 1].text : null;
    sentence.replaceChildren(...(before === row.text ? [row.text] : marked(before, row.text)));
    slider.setAttribute("aria-valuetext", `${row.tau.toFixed(2)}: ${row.text}`);
    where.textContent = said(index, before);
    list.select(index);
    saveAddress();
  }

  function said(index, before) {
    const place = `τ ${rows[index].tau.toFixed(2)} · step ${index + 1} of ${rows.length}`;
    if (before === null) return `${place} · the first sentence, as the set gives it back`;
    const number = numChanged(before, rows[index].text);
    if (!number) return before === rows[index].text ? `${place} · as the step before` : `${place} · shorter than the step before`;
    return `${place} · ${number} ${number === 1 ? "word" : "words"} new`;
  }

  function saveAddress() {
    replaceAddress("walk", { set: sets.reference(), ...addressValues(state, DEFAULTS) });
  }
}

let touched = false;
