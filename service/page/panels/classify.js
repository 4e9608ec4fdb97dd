// Classify: a text and the score of every label; a file and a table of labels to take away.

import { replaceAddress } from "../address.js";
import { call } from "../api.js";
import { fileCard } from "../classify/file_card.js";
import { percent } from "../classify/labels_table.js";
import { afterPause, h } from "../dom.js";
import { actionBar } from "../parts/actions.js";
import { acceptDrops } from "../parts/drop.js";
import { fieldFor, stateOf } from "../parts/fields.js";
import { gauge } from "../parts/gauge.js";
import { newestExamples } from "../parts/newest_examples.js";
import { runner } from "../parts/runner.js";
import * as sets from "../sets.js";

const PAUSE_MS = 180;

export function mount(root, values) {
  const state = stateOf({ text: "" }, values);
  let request = null;
  let scores = [];
  const outlet = h("div", { class: "outlet" });
  const bars = h("div", { class: "bars", "aria-live": "polite" });
  const chips = h("div", { class: "chips", role: "group", "aria-label": "Examples" });
  const others = h("p", { class: "muted" });
  const running = runner({ outlet, busy: bars, work: load, onError: () => bars.replaceChildren() });
  const soon = afterPause(running.run, PAUSE_MS);
  const examples = newestExamples(showExamples);
  const text = fieldFor({ name: "text", label: "Text", kind: "text" }, state, soon);
  const table = fileCard();

  root.append(
    h(
      "header",
      { class: "panel-head" },
      h("h1", {}, "Classify"),
      h("p", {}, "How sure the set's head is of each of its labels."),
    ),
    text,
    chips,
    others,
    outlet,
    bars,
    h(
      "div",
      { class: "under-stage" },
      h("div", {}),
      actionBar({
        text: () => scores.map((each) => `${each.label}\t${each.score}`).join("\n"),
        request: () => request,
      }),
    ),
    h(
      "header",
      { class: "panel-head second" },
      h("h2", {}, "A whole file"),
      h("p", {}, "A label for every line, as a table."),
    ),
    table.element,
  );
  acceptDrops(root, table.take);
  window.addEventListener("set-chosen", begin);
  window.addEventListener("sets-known", begin);
  begin();
  return {
    end() {
      soon.cancel();
      running.end();
      table.end();
      examples.end();
      window.removeEventListener("set-chosen", begin);
      window.removeEventListener("sets-known", begin);
    },
  };

  function begin() {
    showOthers();
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

  /** A set without a head is no dead end: those that have one are a click away. */
  function showOthers() {
    const labels = sets.current()?.labels ?? [];
    const named = sets.installed().filter((each) => each.current && each.labels.length);
    others.replaceChildren(
      ...(labels.length || !sets.current()
        ? []
        : [
            `${sets.current().name} has no labels. Sets that have some: `,
            ...named.map((each) =>
              h("button", { type: "button", class: "chip", onclick: () => sets.choose(each.name) }, each.name),
            ),
          ]),
    );
  }

  function set(each) {
    state.text = each;
    text.querySelector("textarea").value = each;
    soon.now();
  }

  async function load(signal) {
    replaceAddress("classify", { set: sets.reference(), text: state.text });
    if (!state.text.trim()) {
      bars.replaceChildren();
      return;
    }
    const body = { text: state.text.trim() };
    if (sets.reference()) body.adapter = sets.reference();
    request = { method: "POST", path: "/classify", body };
    const reply = await call("POST", "/classify", { body, signal });
    scores = reply.data[0].scores;
    bars.replaceChildren(...scores.map(bar));
  }

  function bar({ label, score }, index) {
    return h(
      "div",
      { class: index ? "bar-row" : "bar-row is-first" },
      h("span", { class: "bar-label" }, label),
      gauge(score),
      h("span", { class: "bar-score" }, percent(score)),
    );
  }
}
