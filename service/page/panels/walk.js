// Walk: two sentences, a slider between them, and the sentence at every step.

import { replaceAddress } from "../address.js";
import { call } from "../api.js";
import { afterPause, h, refill } from "../dom.js";
import { field } from "../features.js";
import { actionBar } from "../parts/actions.js";
import {
  DECODING,
  SAMPLING_SPECS,
  decodingBody,
  decodingSpecs,
  typicality,
  withTypicality,
} from "../parts/decoding.js";
import { addressValues, fieldFor, stateOf } from "../parts/fields.js";
import { newestExamples } from "../parts/newest_examples.js";
import { runner } from "../parts/runner.js";
import { stageOf } from "../parts/stage.js";
import * as sets from "../sets.js";

const PAUSE_MS = 150; // after the last key; a first answer takes about a tenth of a second
const MOST_STEPS = 64;
const DEFAULTS = { source: "", target: "", steps: 9, method: "linear", at: -1, ...DECODING };

export function mount(root, values) {
  const state = stateOf(DEFAULTS, values);
  state.steps = Math.min(MOST_STEPS, Math.max(2, Math.round(state.steps)));
  let rows = [];
  let request = null;
  let touched = Boolean(values.source || values.target);

  const outlet = h("div", { class: "outlet" });
  const { stage, list, show, say } = stageOf({ label: "Place between the two sentences", onSelect });
  const options = h("div", { class: "fields" });
  const chips = h("div", { class: "chips", role: "group", "aria-label": "Examples" });
  const more = h("button", { type: "button", class: "quiet", onclick: moreSteps }, "More steps");

  const running = runner({ outlet, busy: stage, work: load });
  const soon = afterPause(running.run, PAUSE_MS);
  const examples = newestExamples(showExamples);
  const source = fieldFor({ name: "source", label: "From", kind: "text" }, state, typed);
  const target = fieldFor({ name: "target", label: "To", kind: "text" }, state, typed);
  const swap = h(
    "button",
    {
      type: "button",
      class: "quiet swap",
      title: "Swap the two",
      "aria-label": "Swap the two sentences",
      onclick: swapEnds,
    },
    "⇄",
  );

  root.append(
    h(
      "header",
      { class: "panel-head" },
      h("h1", {}, "Walk"),
      h("p", {}, "Two sentences, and every sentence in between. Move the thumb."),
    ),
    h("div", { class: "ends" }, source, swap, target),
    chips,
    outlet,
    stage,
    h(
      "div",
      { class: "under-stage" },
      options,
      actionBar({ text: () => rows.map((row) => row.text).join("\n"), request: () => request }),
    ),
    h("div", { class: "trail-head" }, h("h2", {}, "Every step"), more),
    list,
  );
  showOptions();
  window.addEventListener("set-chosen", examples.ask);
  window.addEventListener("sets-known", examples.ask);
  examples.ask();
  return {
    end() {
      soon.cancel();
      running.end();
      examples.end();
      window.removeEventListener("set-chosen", examples.ask);
      window.removeEventListener("sets-known", examples.ask);
    },
  };

  /** Without sentences of a user's own, the set's first example is walked. */
  function showExamples(found) {
    if (found) chips.replaceChildren(...found.walks.map(chip));
    if (!touched && chips.firstElementChild) chips.firstElementChild.click();
    else soon.now();
  }

  function chip([from, to]) {
    return h(
      "button",
      { type: "button", class: "chip", title: `${from} → ${to}`, onclick: () => takeExample(from, to) },
      h("span", {}, from),
      " → ",
      h("span", {}, to),
    );
  }

  function takeExample(from, to) {
    touched = false;
    setEnds(from, to, -1);
  }

  function setEnds(from, to, at) {
    Object.assign(state, { source: from, target: to, at });
    source.querySelector("textarea").value = from;
    target.querySelector("textarea").value = to;
    soon.now();
  }

  function swapEnds() {
    setEnds(state.target, state.source, rows.length ? rows.length - 1 - state.at : -1);
  }

  function typed() {
    touched = true;
    soon();
  }

  function showOptions() {
    const specs = [
      {
        name: "method",
        label: "Way",
        kind: "segments",
        values: [
          ["linear", "Line", "Straight through the space"],
          ["spherical", "Arc", "Along the arc between the two directions"],
        ],
      },
      { name: "steps", label: "Steps", kind: "range", min: 2, max: MOST_STEPS, step: 1 },
      ...decodingSpecs("/interpolate"),
      ...(state.strategy === "sample" ? SAMPLING_SPECS : []),
    ];
    const changed = (name) => {
      if (name === "strategy") showOptions();
      soon();
    };
    refill(options, ...specs.map((spec) => fieldFor(spec, state, changed)));
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
      say(h("span", { class: "muted" }, "Write two sentences."));
      return;
    }
    const body = {
      source: from,
      target: to,
      steps: state.steps,
      ...decodingBody(state, "/interpolate"),
      ...withTypicality("/interpolate"),
    };
    if (state.method !== "linear") body.method = state.method;
    if (sets.reference()) body.adapter = sets.reference();
    request = { method: "POST", path: "/interpolate", body };
    delete root.dataset.made;
    let reply = await call("POST", "/interpolate", { body: { ...body, ...firstOnly(body) }, signal });
    showAll(reply);
    if (firstOnly(body).candidates && repeats(reply.data)) {
      reply = await call("POST", "/interpolate", { body, signal });
      showAll(reply);
    }
    root.dataset.made = `${reply.adapter.name}@${reply.adapter.version}`;
  }

  /**
   * What asks for the first sentence of each step alone. The service takes several times as long to find others where
   * a sentence comes twice: that is a second request, made where there is one, while the first answer can be read.
   */
  function firstOnly(body) {
    return field("/interpolate", "candidates") && body.candidates === undefined ? { candidates: 1 } : {};
  }

  function repeats(found) {
    return new Set(found.map((row) => row.text)).size < found.length;
  }

  function showAll(reply) {
    rows = reply.data;
    if (state.at < 0 || state.at >= rows.length) state.at = Math.floor(rows.length / 2);
    more.disabled = rows.length >= MOST_STEPS;
    show(
      rows.map((row, index) => ({
        place: `τ ${row.tau.toFixed(2)}`,
        text: row.text,
        said: index ? null : "the first sentence, as the set gives it back",
        also: typicality(row),
      })),
      state.at,
    );
  }

  function onSelect(index) {
    state.at = index;
    saveAddress();
  }

  function saveAddress() {
    replaceAddress("walk", { set: sets.reference(), ...addressValues(state, DEFAULTS) });
  }
}
