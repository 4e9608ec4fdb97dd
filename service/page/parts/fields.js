// Controls of a panel from a list of what they are; each writes its value into the panel's state.

import { h, newId } from "../dom.js";

/**
 * A control for `spec`: {name, label, kind, hint?, ...}; kinds are text, number, range, segments, select and check.
 * Calls `onChange(name)` after each change that a user makes.
 */
export function fieldFor(spec, state, onChange) {
  const set = (value) => {
    state[spec.name] = value;
    onChange(spec.name);
  };
  return KINDS[spec.kind](spec, state, set);
}

const KINDS = {
  text(spec, state, set) {
    const id = newId(spec.name);
    const area = h("textarea", {
      id,
      name: spec.name,
      rows: spec.rows ?? 2,
      maxlength: 20000,
      spellcheck: "false",
      placeholder: spec.placeholder,
      value: state[spec.name],
      oninput: () => set(area.value),
    });
    return h("div", { class: "field field-text" }, h("label", { for: id }, spec.label), area);
  },

  number(spec, state, set) {
    const id = newId(spec.name);
    const input = h("input", {
      id,
      type: "number",
      name: spec.name,
      min: spec.min,
      max: spec.max,
      step: spec.step ?? 1,
      placeholder: spec.placeholder,
      value: state[spec.name],
      onchange: () => set(input.value === "" ? (spec.empty ?? "") : Number(input.value)),
    });
    return h("div", { class: "field" }, h("label", { for: id, title: spec.hint }, spec.label), input);
  },

  range(spec, state, set) {
    const id = newId(spec.name);
    const shown = h("output", { for: id }, format(state[spec.name], spec));
    const input = h("input", {
      id,
      type: "range",
      name: spec.name,
      min: spec.min,
      max: spec.max,
      step: spec.step,
      value: state[spec.name],
      oninput: () => {
        shown.textContent = format(input.value, spec);
        set(Number(input.value));
      },
    });
    return h(
      "div",
      { class: "field field-range" },
      h("label", { for: id, title: spec.hint }, spec.label, " ", shown),
      input,
    );
  },

  segments(spec, state, set) {
    const name = newId(spec.name);
    const choices = spec.values.map(([value, label, hint]) =>
      h(
        "label",
        { title: hint },
        h("input", { type: "radio", name, value, checked: state[spec.name] === value, onchange: () => set(value) }),
        h("span", {}, label),
      ),
    );
    return h("fieldset", { class: "field segments" }, h("legend", {}, spec.label), h("div", {}, choices));
  },

  select(spec, state, set) {
    const id = newId(spec.name);
    const input = h(
      "select",
      { id, name: spec.name, onchange: () => set(input.value) },
      spec.values.map(([value, label]) => h("option", { value, selected: state[spec.name] === value }, label)),
    );
    return h("div", { class: "field" }, h("label", { for: id, title: spec.hint }, spec.label), input);
  },

  check(spec, state, set) {
    const input = h("input", {
      type: "checkbox",
      name: spec.name,
      checked: state[spec.name],
      onchange: () => set(input.checked),
    });
    return h("label", { class: "field field-check", title: spec.hint }, input, h("span", {}, spec.label));
  },
};

function format(value, spec) {
  const number = Number(value);
  return spec.format ? spec.format(number) : String(number);
}

/** Values from the address over the defaults, each in the kind of its default; what makes no sense is left out. */
export function stateOf(defaults, values) {
  const state = { ...defaults };
  for (const [name, usual] of Object.entries(defaults)) {
    if (!(name in values)) continue;
    if (typeof usual === "number") {
      const number = Number(values[name]);
      if (values[name] !== "" && Number.isFinite(number)) state[name] = number;
    } else state[name] = typeof usual === "boolean" ? values[name] === "true" : values[name];
  }
  return state;
}

/** What of a state the address has to hold: all that is not the default. */
export function addressValues(state, defaults) {
  return Object.fromEntries(Object.entries(state).filter(([name, value]) => value !== defaults[name]));
}
