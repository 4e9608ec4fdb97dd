// Traverse: one sentence, a direction of z, and the sentences along it; the dimensions that matter most come first.

import { replaceAddress } from "../address.js";
import { afterPause, h, refill } from "../dom.js";
import { has } from "../features.js";
import { actionBar } from "../parts/actions.js";
import { DECODING, SAMPLING_SPECS, decodingSpecs, typicality } from "../parts/decoding.js";
import { addressValues, fieldFor, stateOf } from "../parts/fields.js";
import { gauge } from "../parts/gauge.js";
import { newestExamples } from "../parts/newest_examples.js";
import { runner } from "../parts/runner.js";
import { stageOf } from "../parts/stage.js";
import * as sets from "../sets.js";
import { along } from "../traverse/along.js";
import { directions, usualRange } from "../traverse/spread.js";

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
  range: 0, // the usual one
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
  const examples = newestExamples(showExamples);
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
  window.addEventListener("sets-known", onKnown);
  begin();
  return {
    end() {
      soon.cancel();
      running.end();
      examples.end();
      window.removeEventListener("set-chosen", onSet);
      window.removeEventListener("sets-known", onKnown);
    },
  };

  function begin() {
    showKinds();
    showOptions();
    examples.ask();
  }

  function showExamples(found) {
    chips.replaceChildren(
      ...(found?.texts ?? []).map((each) =>
        h("button", { type: "button", class: "chip", onclick: () => set(each) }, each),
      ),
    );
    if (!state.text && found?.texts[0]) set(found.texts[0]);
    else soon.now();
  }

  /** The set is known at last: its usual range and its labels are, too. */
  function onKnown() {
    if (!("range" in values)) state.range = 0;
    begin();
  }

  function onSet() {
    Object.assign(state, { dimension: -1, from: "", to: "", at: -1, range: 0 });
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
    if (sets.current() && state.kind === "labels" && labels.length < 2) state.kind = "dimension";
    const choices = [
      ["dimension", "Dimension"],
      ...(labels.length > 1 ? [["labels", "Label to label"]] : []),
      ["texts", "Text to text"],
    ];
    const spec = { name: "kind", label: "Direction", kind: "segments", values: choices };
    kinds.replaceChildren(
      fieldFor(spec, state, () => {
        Object.assign(state, { at: -1, range: 0 });
        showOptions();
        showWays(null);
        soon.now();
      }),
    );
    showWays(null);
  }

  /** `found` are the dimensions once they are known; until then `share` says how far that is. */
  function showWays(found, share = 0) {
    const labels = sets.current()?.labels ?? [];
    if (state.kind === "labels") {
      if (!labels.includes(state.from)) state.from = labels[0] ?? state.from;
      if (!labels.includes(state.to)) state.to = labels[1] ?? state.to;
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
      const any = { name: "dimension", label: "Any dimension", kind: "number", min: 0, max: found.deviation.length - 1 };
      refill(
        ways,
        h(
          "div",
          { class: "dimensions", role: "group", "aria-label": "Dimensions, those that change most first" },
          found.order.slice(0, SHOWN).map((dimension) =>
            h(
              "button",
              {
                type: "button",
                class: "dimension",
                "aria-pressed": String(dimension === state.dimension),
                title: `Moved along it, ${Math.round(100 * found.effect[dimension])} % of a sentence's words change`,
                onclick: () => {
                  state.dimension = dimension;
                  soon.now();
                },
              },
              h("span", {}, `z${dimension}`),
              gauge(found.effect[dimension] / (found.effect[found.order[0]] || 1)),
            ),
          ),
          fieldFor(any, state, soon),
        ),
      );
    } else
      ways.replaceChildren(
        h(
          "p",
          { class: "muted" },
          `Sentences of the set are moved along its dimensions, to find those that matter… ${Math.round(100 * share)} %`,
        ),
      );
  }

  function showOptions() {
    const isDimension = state.kind === "dimension";
    if (!(state.range > 0)) state.range = isDimension ? usualRange(sets.current()?.latent_size ?? 16) : 1;
    const specs = [
      {
        name: "range",
        label: "Range",
        kind: "range",
        min: 0.5,
        max: isDimension ? 20 : 4,
        step: 0.5,
        format: (value) => `± ${value}`,
        hint: "In standard deviations, or in whole differences",
      },
      { name: "steps", label: "Steps", kind: "range", min: 3, max: 33, step: 2 },
      ...decodingSpecs(has("POST", "/traverse") ? "/traverse" : "/decode"),
      ...(state.strategy === "sample" ? SAMPLING_SPECS : []),
    ];
    refill(
      options,
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
    const { range, steps } = state;
    const asked = {
      text: state.text.trim(),
      direction: way,
      range,
      steps,
      adapter: sets.reference(),
      set: sets.current(),
    };
    const found = await along({ ...asked, options: state }, signal);
    request = found.request;
    rows = found.rows.map((row) => ({
      text: row.text,
      place: `${row.at > 0 ? "+" : ""}${row.at.toFixed(1)}`,
      said: Math.abs(row.at) < 1e-6 ? "the sentence itself, as the set gives it back" : null,
      also: typicality(row),
    }));
    if (state.at < 0 || state.at >= rows.length) state.at = Math.floor(rows.length / 2);
    show(rows, state.at);
  }

  /** The direction as requests name it, or null where nothing is chosen. */
  async function direction(signal) {
    if (state.kind === "labels") return { from: state.from, to: state.to };
    if (state.kind === "texts") {
      const lines = (text) =>
        text
          .split("\n")
          .map((line) => line.trim())
          .filter(Boolean);
      const [from, to] = [lines(state.a), lines(state.b)];
      return from.length && to.length ? { from, to } : null;
    }
    const found = await directions(await sets.needed(), signal, (share) => showWays(null, share));
    if (!(state.dimension >= 0 && state.dimension < found.deviation.length)) state.dimension = found.order[0];
    showWays(found);
    return { dimension: state.dimension };
  }

  function onSelect(index) {
    state.at = index;
    save();
  }

  function save() {
    replaceAddress("traverse", { set: sets.reference(), ...addressValues(state, DEFAULTS) });
  }
}
