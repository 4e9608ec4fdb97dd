// How a set's own sentences lie in z: how wide each dimension is, which of them change what is said, and the way from
// one label to another.

import { call } from "../api.js";
import { numChanged } from "../words.js";

const ROWS = 64; // a request
const MOST_REQUESTS = 4;
const SPREAD_OVER = 64; // texts
const MOST_MOVED = 128; // dimensions, the widest ones, along which sentences are moved
const KEPT = "adavae.directions.";
const sentences = new Map(); // by set: {texts, mus}

/** How far, in standard deviations, one dimension of z is mostly moved: of many, each alone says little. */
export const usualRange = (latentSize) => Math.max(2, Math.round(Math.sqrt(latentSize) / 2));

/**
 * The dimensions of a set: {deviation, order, effect}. `deviation` has a number a dimension; `effect` too, the share of
 * words that change where two sentences of the set are moved along it; `order` are those with the largest effect first.
 */
export async function directions(set, signal, onProgress = () => {}) {
  const known = remembered(set);
  if (known) return known;
  const { texts, mus } = await ownSentences(set, signal);
  if (texts.length < 2)
    throw new Error(`${set.name} hardly writes sentences of its own: choose a direction between two of yours.`);
  const mean = meanOf(mus);
  const deviation = mean.map((middle, axis) =>
    Math.sqrt(mus.reduce((sum, mu) => sum + (mu[axis] - middle) ** 2, 0) / mus.length),
  );
  const widest = deviation.map((_, axis) => axis).sort((a, b) => deviation[b] - deviation[a]);
  const measured = widest.slice(0, MOST_MOVED);
  const effect = await effects(set, mus.slice(0, 2), deviation, measured, signal, onProgress);
  const order = measured.sort((a, b) => effect[b] - effect[a] || deviation[b] - deviation[a]);
  const found = { deviation, effect, order: [...order, ...widest.slice(MOST_MOVED)] };
  remember(set, found);
  return found;
}

/** The way from one label to another, (Z,): the difference of the means of the set's own sentences. */
export async function between(set, from, to, signal) {
  const { texts, mus } = await ownSentences(set, signal);
  const labels = await labelsOf(set, texts, signal);
  const [first, last] = [from, to].map((label) => mus.filter((_, row) => labels[row] === label));
  if (!first.length || !last.length)
    throw new Error(
      `Among the sentences that the set wrote there is none for ${first.length ? to : from}: choose another label.`,
    );
  const [start, end] = [meanOf(first), meanOf(last)];
  return start.map((value, axis) => end[axis] - value);
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

/** {texts, mus} of sentences that the set writes, asked for once. */
async function ownSentences(set, signal) {
  if (!sentences.has(set.id)) {
    const texts = await written(set, SPREAD_OVER, signal);
    const body = { texts, adapter: set.id, truncate: true };
    const mus = texts.length ? (await call("POST", "/encode", { body, signal })).data.map((row) => row.mu) : [];
    sentences.set(set.id, { texts, mus });
  }
  return sentences.get(set.id);
}

/** Share of words that change along each of `axes`: one sentence is moved up, another one down. */
async function effects(set, mus, deviation, axes, signal, onProgress) {
  const range = usualRange(deviation.length);
  const moved = axes.flatMap((axis) =>
    mus.map((mu, row) =>
      mu.map((value, place) => (place === axis ? value + (row ? -range : range) * deviation[axis] : value)),
    ),
  );
  const said = [];
  for (let start = 0; start < moved.length + mus.length; start += ROWS) {
    onProgress(start / (moved.length + mus.length));
    const z = [...mus, ...moved].slice(start, start + ROWS).map((row) => row.map((value) => Number(value.toFixed(4))));
    const reply = await call("POST", "/decode", { body: { z, adapter: set.id }, signal });
    said.push(...reply.data.map((row) => row.text));
  }
  const effect = new Array(deviation.length).fill(0);
  axes.forEach((axis, place) => {
    const shares = mus.map((_, row) => shareChanged(said[row], said[mus.length * (place + 1) + row]));
    effect[axis] = shares.reduce((sum, share) => sum + share, 0) / shares.length;
  });
  return effect;
}

function shareChanged(before, text) {
  const { added, gone } = numChanged(before, text);
  return Math.min(1, (added + gone) / Math.max(1, before.split(/\s+/).length));
}

function remembered(set) {
  try {
    return JSON.parse(sessionStorage.getItem(KEPT + set.id));
  } catch {
    return null;
  }
}

function remember(set, found) {
  try {
    sessionStorage.setItem(KEPT + set.id, JSON.stringify(found));
  } catch {
    // the storage of a tab is full; it is measured again then
  }
}

function meanOf(rows) {
  return rows[0].map((_, axis) => rows.reduce((sum, row) => sum + row[axis], 0) / rows.length);
}
