// Traverse: one sentence, a direction of z, and the sentences along it; the dimensions that matter most come first.

import { replaceAddress } from "../address.js";
import { call } from "../api.js";
import { afterPause, h } from "../dom.js";
import { examplesFor } from "../examples.js";
import { actionBar } from "../parts/actions.js";
import { DECODING, SAMPLING_SPECS, decodingBody, decodingSpecs } from "../parts/decoding.js";
import { addressValues, fieldFor, stateOf } from "../parts/fields.js";
import { gauge } from "../parts/gauge.js";
import { runner } from "../parts/runner.js";
import { stageOf } from "../parts/stage.js";
import { directions } from "../spread.js";
import * as sets from "../sets.js";

const PAUSE_MS = 180;
const SHOWN = 16; // dimensions
const DEFAULTS = {
  text: "",
  kind: "dimension",
  dimension: -1,
  a: "",
  b: "",
  from: "",
  to: "",
  range: 3,
  steps: 9,
  at: -1,
  ...DECODING,
};

export function mount(root, values) {
  const state = stateOf(DEFAULTS, values);
  let rows = [];
  let request = null;
  const outlet = h("div", { class: "outlet" });
  const { stage, list, show, say } = stageOf({ label: "Place along the direction", onSelect });
  const chips = h("div", { class: "chips", role: "group", "aria-label": "Examples" });
  const kinds = h("div", { class: "fields" });
  const ways = h("div", { class: "directions" });
  const options = h("div", { class: "fields" });
  const running = runner({ outlet, busy: stage, work: load });
  const soon = afterPause(running.run, PAUSE_MS);
  const text = fieldFor({ name: "text", label: "Sentence", kind: "text", rows: 1 }, state, soon);

  root.append(
    h(
      "header",
      { class: "panel-head" },
      h("h1", {}, "Traverse"),
      h("p", {}, "One sentence, moved along one direction of the space."),
    ),
    text,
    chips,
    h("div", { class: "directions" }, kinds, ways),
    outlet,
    stage,
    h(
      "div",
      { class: "under-stage" },
      options,
      actionBar({ text: () => rows.map((row) => row.text).join("\n"), request: () => request }),
    ),
    h("div", { class: "trail-head" }, h("h2", {}, "Every step")),
    list,
  );
  window.addEventListener("set-chosen", onSet);
  showOptions();
  begin();
  return {
    end() {
      soon.cancel();
      running.end();
      window.removeEventListener("set-chosen", onSet);
    },
  };

  async function begin() {
    showKinds();
    const examples = await examplesFor(sets.current()).catch(() => null);
    chips.replaceChildren(
      ...(examples?.texts ?? []).map((each) =>
        h("button", { type: "button", class: "chip", onclick: () => set(each) }, each),
      ),
    );
    if (!state.text && examples?.texts[0]) set(examples.texts[0]);
    else soon.now();
  }

  function onSet() {
    Object.assign(state, { dimension: -1, from: "", to: "", at: -1 });
    begin();
  }

  function set(each) {
    state.text = each;
    text.querySelector("textarea").value = each;
    soon.now();
  }

  /** What a direction may be: labels only where the set has some. */
  function showKinds() {
    const labels = sets.current()?.labels ?? [];
    if (state.kind === "labels" && labels.length < 2) state.kind = "dimension";
    const choices = [
      ["dimension", "Dimension"],
      ...(labels.length > 1 ? [["labels", "Label to label"]] : []),
      ["texts", "Text to text"],
    ];
    const spec = { name: "kind", label: "Direction", kind: "segments", values: choices };
    kinds.replaceChildren(
      fieldFor(spec, state, () => {
        state.at = -1;
        showWays(null);
        soon.now();
      }),
    );
    showWays(null);
  }

  function showWays(found) {
    const labels = sets.current()?.labels ?? [];
    if (state.kind === "labels") {
      if (!labels.includes(state.from)) state.from = labels[0];
      if (!labels.includes(state.to)) state.to = labels[1];
      const pick = (name, label) =>
        fieldFor({ name, label, kind: "select", values: labels.map((each) => [each, each]) }, state, soon);
      ways.replaceChildren(h("div", { class: "fields" }, pick("from", "From"), pick("to", "To")));
    } else if (state.kind === "texts") {
      if (ways.querySelector("textarea")) return;
      ways.replaceChildren(
        h(
          "div",
          { class: "ends" },
          fieldFor({ name: "a", label: "From", kind: "text", rows: 1 }, state, soon),
          h("span", {}),
          fieldFor({ name: "b", label: "To", kind: "text", rows: 1 }, state, soon),
        ),
      );
    } else if (found) {
      ways.replaceChildren(
        h(
          "div",
          { class: "dimensions", role: "group", "aria-label": "Dimensions, the widest first" },
          found.order.slice(0, SHOWN).map((dimension) =>
            h(
              "button",
              {
                type: "button",
                class: "dimension",
                "aria-pressed": String(dimension === state.dimension),
                onclick: () => {
                  state.dimension = dimension;
                  soon.now();
                },
              },
              h("span", {}, `z${dimension + 1}`),
              gauge(found.deviation[dimension] / found.deviation[found.order[0]]),
            ),
          ),
        ),
      );
    } else
      ways.replaceChildren(
        h("p", { class: "muted" }, "Looking at what the set itself writes, for the dimensions that matter…"),
      );
  }

  function showOptions() {
    const specs = [
      {
        name: "range",
        label: "Range",
        kind: "range",
        min: 0.5,
        max: 6,
        step: 0.5,
        format: (value) => `± ${value}`,
        hint: "In standard deviations, or in whole differences",
      },
      { name: "steps", label: "Steps", kind: "range", min: 3, max: 33, step: 2 },
      ...decodingSpecs("/decode"),
      ...(state.strategy === "sample" ? SAMPLING_SPECS : []),
    ];
    options.replaceChildren(
      ...specs.map((spec) =>
        fieldFor(spec, state, (name) => {
          if (name === "strategy") showOptions();
          soon();
        }),
      ),
    );
  }

  async function load(signal) {
    save();
    if (!state.text.trim()) {
      say(h("span", { class: "muted" }, "Write a sentence."));
      return;
    }
    const way = await direction(signal);
    if (!way) {
      say(h("span", { class: "muted" }, "Write the two sentences of the direction."));
      return;
    }
    const [mu] = await encoded([state.text.trim()], signal);
    const places = Array.from(
      { length: state.steps },
      (_, step) => state.range * ((2 * step) / (state.steps - 1) - 1) * way.unit,
    );
    const z = places.map((place) =>
      mu.map((value, axis) => Math.round((value + place * way.vector[axis]) * 1e5) / 1e5),
    );
    const body = { z, ...decodingBody(state, "/decode") };
    if (sets.reference()) body.adapter = sets.reference();
    request = { method: "POST", path: "/decode", body };
    const reply = await call("POST", "/decode", { body, signal });
    rows = reply.data.map((row, index) => ({
      text: row.text,
      place: `${places[index] > 0 ? "+" : ""}${places[index].toFixed(1)}`,
      said: places[index] === 0 ? "the sentence itself, as the set gives it back" : null,
    }));
    if (state.at < 0 || state.at >= rows.length) state.at = Math.floor(rows.length / 2);
    show(rows, state.at);
  }

  /** {vector, unit}: one step of size 1 along it, and how the range is counted; null where nothing is chosen. */
  async function direction(signal) {
    if (state.kind === "texts") {
      const [a, b] = [state.a.trim(), state.b.trim()];
      if (!a || !b) return null;
      const [first, last] = await encoded([a, b], signal);
      return { vector: first.map((value, axis) => last[axis] - value), unit: 1 / 3 };
    }
    const found = await directions(sets.current(), signal);
    if (state.kind === "labels") return { vector: found.between(state.from, state.to), unit: 1 };
    if (!(state.dimension >= 0 && state.dimension < found.deviation.length)) state.dimension = found.order[0];
    showWays(found);
    return { vector: found.deviation.map((value, axis) => (axis === state.dimension ? value : 0)), unit: 1 };
  }

  async function encoded(texts, signal) {
    const body = { texts };
    if (sets.reference()) body.adapter = sets.reference();
    const reply = await call("POST", "/encode", { body, signal });
    return reply.data.map((row) => row.mu);
  }

  function onSelect(index) {
    state.at = index;
    save();
  }

  function save() {
    replaceAddress("traverse", { set: sets.reference(), ...addressValues(state, DEFAULTS) });
  }
}
