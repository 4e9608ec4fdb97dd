// Options that every panel with sentences has: how they are written, and how close to real texts z is kept.

import { field } from "../features.js";

const BEST = -1; // of an option that is left to the service, which knows what measured best

/** Defaults of the options, for a panel's state. */
export const DECODING = {
  strategy: "greedy",
  temperature: 0.8,
  seed: 7,
  refine: BEST,
  truncation: BEST,
  candidates: BEST,
  focus: BEST,
};

const STEERING = [
  { name: "refine", label: "Refine", most: 1, step: 0.05, hint: "Leads z back to where real texts lie: 0 leaves it" },
  {
    name: "truncation",
    label: "Truncation",
    most: 2,
    step: 0.05,
    hint: "Pulls z towards the middle of all texts: safer and plainer sentences",
  },
  {
    name: "candidates",
    label: "Candidates",
    most: 16,
    step: 1,
    least: 1,
    hint: "Several texts are written for each z, and the best is kept",
  },
  {
    name: "focus",
    label: "Focus",
    most: 1,
    step: 0.05,
    hint: "Where the pair goes from one label to another: 0 takes the whole difference, 1 the change of label alone",
  },
];

/** Controls for those of the options that a route takes. */
export function decodingSpecs(path) {
  const specs = STEERING.filter(({ name }) => field(path, name)).map((option) => steeringSpec(path, option));
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

/** A slider whose left end leaves the choice to the service. */
function steeringSpec(path, { name, label, most, step, least = 0, hint }) {
  const allowed = field(path, name);
  const maximum = Math.min(most, ...[allowed, ...(allowed.anyOf ?? [])].map((kind) => kind.maximum ?? most));
  const format = (value) => (value < least ? "best" : step < 1 ? value.toFixed(2) : String(value));
  return { name, label, kind: "range", min: least - step, max: maximum, step, format, hint };
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

/** The options as fields of a request's body; what is left to the service is left out. */
export function decodingBody(state, path) {
  const body = {};
  for (const { name, least = 0 } of STEERING) {
    if (field(path, name) && state[name] >= least) body[name] = state[name];
  }
  if (state.strategy === "beam") body.decoding = { strategy: "beam" };
  if (state.strategy === "sample") {
    body.decoding = { strategy: "sample", temperature: state.temperature, seed: state.seed };
  }
  return body;
}

/** `include` for a route that tells how usual each z is; nothing for others. */
export const withTypicality = (path) => (field(path, "refine") && field(path, "include") ? { include: ["z"] } : {});

/** How usual a sentence's z is, where the service tells: [] or one thing to say. */
export function typicality(row) {
  return typeof row.typicality === "number" ? [`typicality ${row.typicality.toFixed(2)}`] : [];
}
