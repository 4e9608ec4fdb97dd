// How a set's own sentences lie in z: how wide each dimension is, and the way from one label to another.

import { call } from "../api.js";

const ROWS = 64; // a request
const MOST_REQUESTS = 4;
const MEASURED = 128; // texts
const kept = new Map();

/**
 * Of sentences that the set itself writes, told apart by its head where it has one: {deviation, order, between(a, b)}.
 * `deviation` has a number a dimension, `order` the dimensions from the widest on, `between` the difference of means.
 */
export async function directions(set, signal) {
  if (!set) throw new Error("No adapter set is chosen.");
  if (!kept.has(set.id)) kept.set(set.id, await measured(set, signal));
  return kept.get(set.id);
}

async function measured(set, signal) {
  const texts = await written(set, MEASURED, signal);
  if (texts.length < 2)
    throw new Error(`${set.name} hardly writes sentences of its own: choose a direction between two of yours.`);
  const encoded = await call("POST", "/encode", { body: { texts, adapter: set.id, truncate: true }, signal });
  const mus = encoded.data.map((row) => row.mu);
  const mean = meanOf(mus);
  const deviation = mean.map((middle, axis) =>
    Math.sqrt(mus.reduce((sum, mu) => sum + (mu[axis] - middle) ** 2, 0) / mus.length),
  );
  const order = deviation.map((_, axis) => axis).sort((a, b) => deviation[b] - deviation[a]);
  const labels = set.labels.length > 1 ? await labelsOf(set, texts, signal) : [];
  return { deviation, order, between: (from, to) => difference(mus, labels, from, to) };
}

/** Different sentences that the set itself writes, `number` of them or what there is; fragments are left out. */
export async function written(set, number, signal) {
  const texts = new Set();
  for (let seed = 1; texts.size < number && seed < MOST_REQUESTS * ROWS; seed += ROWS) {
    const body = { samples: ROWS, adapter: set.id, decoding: { seed } };
    const reply = await call("POST", "/decode", { body, signal });
    for (const row of reply.data) if (row.finish_reason === "stop" && isSentence(row.text)) texts.add(row.text.trim());
  }
  return [...texts].slice(0, number);
}

const isSentence = (text) => (text.match(/\p{L}+/gu) ?? []).length >= 3;

/** What the set's head takes each text for. */
export async function labelsOf(set, texts, signal) {
  const reply = await call("POST", "/classify", { body: { texts, adapter: set.id, top_k: 1, truncate: true }, signal });
  return reply.data.map((row) => row.label);
}

function difference(mus, labels, from, to) {
  const [first, last] = [from, to].map((label) => mus.filter((_, row) => labels[row] === label));
  if (!first.length || !last.length)
    throw new Error(
      `Among the sentences that the set wrote there is none for ${first.length ? to : from}: choose another label.`,
    );
  const [start, end] = [meanOf(first), meanOf(last)];
  return start.map((value, axis) => end[axis] - value);
}

function meanOf(rows) {
  return rows[0].map((_, axis) => rows.reduce((sum, row) => sum + row[axis], 0) / rows.length);
}
