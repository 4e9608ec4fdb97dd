// How a set's own sentences lie in z: how wide each dimension is, and the way from one label to another.

import { call } from "./api.js";

const ROWS = 64; // a request
const SEEDS = [1, 65];
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
  const texts = await written(set, signal);
  const encoded = await call("POST", "/encode", { body: { texts, adapter: set.id, truncate: true }, signal });
  const mus = encoded.data.map((row) => row.mu);
  const mean = meanOf(mus);
  const deviation = mean.map((middle, axis) => Math.sqrt(mus.reduce((sum, mu) => sum + (mu[axis] - middle) ** 2, 0) / mus.length));
  const order = deviation.map((_, axis) => axis).sort((a, b) => deviation[b] - deviation[a]);
  const labels = set.labels.length > 1 ? await labelled(set, texts, signal) : [];
  return { deviation, order, between: (from, to) => difference(mus, labels, from, to) };
}

async function written(set, signal) {
  const texts = new Set();
  for (const seed of SEEDS) {
    const body = { samples: ROWS, adapter: set.id, decoding: { strategy: "sample", temperature: 0.7, seed } };
    const reply = await call("POST", "/decode", { body, signal });
    for (const { text } of reply.data) if (text.trim()) texts.add(text);
  }
  return [...texts];
}

async function labelled(set, texts, signal) {
  const reply = await call("POST", "/classify", { body: { texts, adapter: set.id, top_k: 1, truncate: true }, signal });
  return reply.data.map((row) => row.label);
}

function difference(mus, labels, from, to) {
  const [first, last] = [from, to].map((label) => mus.filter((_, row) => labels[row] === label));
  if (!first.length || !last.length) throw new Error(`Among the sentences that the set wrote there is none for ${first.length ? to : from}: choose another label.`);
  const [start, end] = [meanOf(first), meanOf(last)];
  return start.map((value, axis) => end[axis] - value);
}

function meanOf(rows) {
  return rows[0].map((_, axis) => rows.reduce((sum, row) => sum + row[axis], 0) / rows.length);
}
