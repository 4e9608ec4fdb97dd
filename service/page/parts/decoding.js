// Options that every panel with sentences has: how they are written, and how close to real texts z is kept.

import { field } from "../features.js";

/** Defaults of the options, for a panel's state. */
export const DECODING = { strategy: "greedy", temperature: 0.8, seed: 7, refine: 0, truncation: 1, candidates: 1 };

/** Controls for those of the options that a route takes. */
export function decodingSpecs(path) {
  const specs = [];
  if (field(path, "refine")) {
    specs.push({
      name: "refine",
      label: "Refine",
      kind: "range",
      min: 0,
      max: 1,
      step: 0.05,
      format: (value) => value.toFixed(2),
      hint: "Moves z towards where real texts lie: 0 leaves it, 1 draws a new one",
    });
  }
  if (field(path, "truncation")) {
    specs.push({
      name: "truncation",
      label: "Truncation",
      kind: "range",
      min: 0,
      max: 1,
      step: 0.05,
      format: (value) => value.toFixed(2),
      hint: "Below 1 pulls z towards the average text: safer and plainer",
    });
  }
  if (field(path, "candidates")) {
    specs.push({
      name: "candidates",
      label: "Candidates",
      kind: "range",
      min: 1,
      max: 16,
      step: 1,
      hint: "Several texts are written for each z and the best is kept",
    });
  }
  if (field(path, "decoding")) {
    specs.push({
      name: "strategy",
      label: "Writing",
      kind: "segments",
      values: [
        ["greedy", "Likeliest", "The likeliest token each time"],
        ["beam", "Search", "Beam search: the likeliest text"],
        ["sample", "Drawn", "Tokens are drawn: other sentences for another seed"],
      ],
    });
  }
  return specs;
}

/** Further controls where tokens are drawn. */
export const SAMPLING_SPECS = [
  {
    name: "temperature",
    label: "Temperature",
    kind: "range",
    min: 0.1,
    max: 2,
    step: 0.1,
    format: (value) => value.toFixed(1),
  },
  { name: "seed", label: "Seed", kind: "number", min: 0, max: 2 ** 31, empty: 7 },
];

/** The options as fields of a request's body; what is the default is left out. */
export function decodingBody(state, path) {
  const body = {};
  for (const name of ["refine", "truncation", "candidates"]) {
    if (field(path, name) && state[name] !== DECODING[name]) body[name] = state[name];
  }
  if (state.strategy === "beam") body.decoding = { strategy: "beam" };
  if (state.strategy === "sample")
    body.decoding = { strategy: "sample", temperature: state.temperature, seed: state.seed };
  return body;
}
