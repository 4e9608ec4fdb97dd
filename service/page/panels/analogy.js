// Analogy: c changed as a changes into b; and variations: other sentences near one.

import { replaceAddress } from "../address.js";
import { call } from "../api.js";
import { afterPause, h, refill } from "../dom.js";
import { field, has, takesList } from "../features.js";
import { actionBar } from "../parts/actions.js";
import { DECODING, SAMPLING_SPECS, decodingBody, decodingSpecs } from "../parts/decoding.js";
import { addressValues, fieldFor, stateOf } from "../parts/fields.js";
import { marked } from "../parts/marked.js";
import { newestExamples } from "../parts/newest_examples.js";
import { runner } from "../parts/runner.js";
import * as sets from "../sets.js";

const PAUSE_MS = 180;
const DEFAULTS = { a: "", b: "", c: "", scale: 1, text: "", n: 6, distance: 1, ...DECODING };

export function mount(root, values) {
  const state = stateOf(DEFAULTS, values);
  const analogy = analogyCard(state, save);
  const variations = has("POST", "/variations") ? variationsCard(state, save) : null;
  root.append(
    h(
      "header",
      { class: "panel-head" },
      h("h1", {}, "Analogy"),
      h("p", {}, "One sentence becomes another; a third is changed the same way."),
    ),
    analogy.element,
    ...(variations
      ? [
          h(
            "header",
            { class: "panel-head second" },
            h("h2", {}, "Variations"),
            h("p", {}, "Other sentences near yours."),
          ),
          variations.element,
        ]
      : []),
  );
  const examples = newestExamples((found) => {
    analogy.begin(found);
    variations?.begin(found);
  });
  window.addEventListener("set-chosen", examples.ask);
  window.addEventListener("sets-known", examples.ask);
  examples.ask();
  return {
    end() {
      examples.end();
      analogy.end();
      variations?.end();
      window.removeEventListener("set-chosen", examples.ask);
      window.removeEventListener("sets-known", examples.ask);
    },
  };

  function save() {
    replaceAddress("analogy", { set: sets.reference(), ...addressValues(state, DEFAULTS) });
  }
}

function analogyCard(state, save) {
  let request = null;
  let texts = [];
  const outlet = h("div", { class: "outlet" });
  const answer = h("div", { class: "answers", "aria-live": "polite" }, h("p", { class: "hero-sentence" }, "\u00a0"));
  const chips = h("div", { class: "chips", role: "group", "aria-label": "Examples" });
  const running = runner({ outlet, busy: answer, work: load });
  const soon = afterPause(running.run, PAUSE_MS);
  let isTheirs = Boolean(state.a); // a user's own sentences stay when another set is chosen
  const isListed = takesList("/analogy", "a");
  const hint = isListed ? "several, one a line, count as their average" : undefined;
  const areas = Object.fromEntries(
    [
      ["a", "This"],
      ["b", "becomes this"],
      ["c", "so this"],
    ].map(([name, label]) => [
      name,
      fieldFor({ name, label, kind: "text", placeholder: name === "c" ? undefined : hint }, state, typed),
    ]),
  );
  const options = h("div", { class: "fields" });
  const element = h(
    "div",
    {},
    h(
      "div",
      { class: "figure" },
      areas.a,
      h("span", { class: "sign", "aria-hidden": "true" }, "→"),
      areas.b,
      areas.c,
      h("span", { class: "sign", "aria-hidden": "true" }, "→"),
      h("div", { class: "field field-answer" }, h("span", { class: "label" }, "becomes this"), answer),
    ),
    chips,
    outlet,
    h("div", { class: "under-stage" }, options, actionBar({ text: () => texts.join("\n"), request: () => request })),
  );
  showOptions();
  return {
    element,
    begin(examples) {
      chips.replaceChildren(
        ...(examples?.analogies ?? []).map((each) =>
          h(
            "button",
            { type: "button", class: "chip", title: `${each.a} → ${each.b}`, onclick: () => set(each) },
            each.name,
          ),
        ),
      );
      if (!isTheirs && examples?.analogies[0]) set(examples.analogies[0]);
      else soon.now();
    },
    end() {
      soon.cancel();
      running.end();
    },
  };

  function set({ a, b, c }) {
    Object.assign(state, { a, b, c });
    for (const name of ["a", "b", "c"]) areas[name].querySelector("textarea").value = state[name];
    isTheirs = false;
    soon.now();
  }

  function typed() {
    isTheirs = true;
    soon();
  }

  function showOptions() {
    const specs = [
      {
        name: "scale",
        label: "Scale",
        kind: "range",
        min: -2,
        max: 3,
        step: 0.1,
        format: (value) => value.toFixed(1),
        hint: "How far to go: 1 is the whole difference, below 0 the other way",
      },
      ...decodingSpecs("/analogy"),
      ...(state.strategy === "sample" ? SAMPLING_SPECS : []),
    ];
    const changed = (name) => {
      if (name === "strategy") showOptions();
      soon();
    };
    refill(options, ...specs.map((spec) => fieldFor(spec, state, changed)));
  }

  async function load(signal) {
    save();
    const lines = (name) =>
      state[name]
        .split("\n")
        .map((line) => line.trim())
        .filter(Boolean);
    const given = { a: lines("a"), b: lines("b"), c: lines("c") };
    if (!given.a.length || !given.b.length || !given.c.length) {
      answer.replaceChildren(h("p", { class: "muted" }, "Write three sentences."));
      return;
    }
    const one = (name) => (takesList("/analogy", name) && given[name].length > 1 ? given[name] : given[name].join(" "));
    const body = { a: one("a"), b: one("b"), c: one("c"), ...decodingBody(state, "/analogy") };
    if (state.scale !== 1) body.scale = state.scale;
    if (state.strategy === "sample") body.samples = 3;
    if (sets.reference()) body.adapter = sets.reference();
    request = { method: "POST", path: "/analogy", body };
    const reply = await call("POST", "/analogy", { body, signal });
    texts = reply.data.map((row) => row.text);
    const changed = [body.c].flat();
    answer.replaceChildren(
      ...reply.data.map((row) => h("p", { class: "hero-sentence" }, ...marked(changed[row.c], row.text))),
    );
  }
}

function variationsCard(state, save) {
  let request = null;
  let texts = [];
  const outlet = h("div", { class: "outlet" });
  const answer = h("ul", { class: "variants", "aria-live": "polite" });
  const chips = h("div", { class: "chips", role: "group", "aria-label": "Examples" });
  const running = runner({ outlet, busy: answer, work: load });
  const soon = afterPause(running.run, PAUSE_MS);
  const text = fieldFor({ name: "text", label: "Near", kind: "text", rows: 1 }, state, soon);
  const most = field("/variations", "distance")?.maximum ?? 2;
  const options = h(
    "div",
    { class: "fields" },
    fieldFor(
      {
        name: "distance",
        label: "Distance",
        kind: "range",
        min: 0.1,
        max: Math.min(most, 3),
        step: 0.1,
        format: (value) => value.toFixed(1),
      },
      state,
      soon,
    ),
    fieldFor({ name: "n", label: "How many", kind: "range", min: 1, max: 16, step: 1 }, state, soon),
  );
  const element = h(
    "div",
    {},
    text,
    chips,
    outlet,
    answer,
    h("div", { class: "under-stage" }, options, actionBar({ text: () => texts.join("\n"), request: () => request })),
  );
  return {
    element,
    begin(examples) {
      chips.replaceChildren(
        ...(examples?.texts ?? []).map((each) =>
          h("button", { type: "button", class: "chip", onclick: () => set(each) }, each),
        ),
      );
      if (!state.text && examples?.texts[0]) set(examples.texts[0]);
      else soon.now();
    },
    end() {
      soon.cancel();
      running.end();
    },
  };

  function set(each) {
    state.text = each;
    text.querySelector("textarea").value = each;
    soon.now();
  }

  async function load(signal) {
    save();
    if (!state.text.trim()) return;
    const body = { text: state.text.trim(), n: state.n, distance: state.distance };
    if (sets.reference()) body.adapter = sets.reference();
    request = { method: "POST", path: "/variations", body };
    const reply = await call("POST", "/variations", { body, signal });
    texts = reply.data.map((row) => row.text);
    answer.replaceChildren(...texts.map((each) => h("li", {}, ...marked(body.text, each))));
  }
}
