// Sentences along a direction of z: in one request where the service has /traverse, out of several where it has not.

import { call } from "../api.js";
import { has } from "../features.js";
import { decodingBody, withTypicality } from "../parts/decoding.js";
import { between, directions } from "./spread.js";

/**
 * {request, rows} for `text` moved along `direction`, from `-range` to `range` of its lengths in `steps` steps.
 * `direction` is {dimension}, {from, to} of two labels, or {from, to} of two lists of texts; rows have {at, text}.
 */
export async function along(asked, signal) {
  if (!has("POST", "/traverse")) return composed(asked, signal);
  try {
    return await inOneRequest(asked, signal);
  } catch (error) {
    const isAboutLabels = error.status === 409 && typeof asked.direction.from === "string";
    if (!isAboutLabels) throw error;
    return composed(asked, signal); // an older set does not know where its labels lie; its own sentences tell
  }
}

async function inOneRequest({ text, direction, range, steps, adapter, options }, signal) {
  const body = { text, direction, range: [-range, range], steps, ...decodingBody(options, "/traverse") };
  Object.assign(body, withTypicality("/traverse"), adapter ? { adapter } : {});
  const reply = await call("POST", "/traverse", { body, signal });
  return { request: { method: "POST", path: "/traverse", body }, rows: reply.data };
}

/** z = mu + at * direction, decoded. */
async function composed({ text, direction, range, steps, set, adapter, options }, signal) {
  const named = adapter ? { adapter } : {};
  const way = await vectorOf(direction, set, named, signal);
  const [mu] = await encoded([text], named, signal);
  const places = Array.from({ length: steps }, (_, step) => range * ((2 * step) / (steps - 1) - 1));
  const z = places.map((at) => mu.map((value, axis) => Math.round((value + at * way[axis]) * 1e5) / 1e5));
  const body = { z, ...decodingBody(options, "/decode"), ...named };
  const reply = await call("POST", "/decode", { body, signal });
  const rows = reply.data.map((row, index) => ({ ...row, at: places[index] }));
  return { request: { method: "POST", path: "/decode", body }, rows };
}

async function vectorOf({ dimension, from, to }, set, named, signal) {
  if (Array.isArray(from)) {
    const mus = await encoded([...from, ...to], named, signal);
    const mean = (rows, axis) => rows.reduce((sum, row) => sum + row[axis], 0) / rows.length;
    const [first, last] = [mus.slice(0, from.length), mus.slice(from.length)];
    return mus[0].map((_, axis) => mean(last, axis) - mean(first, axis));
  }
  if (dimension === undefined) return between(set, from, to, signal);
  const found = await directions(set, signal);
  return found.deviation.map((value, axis) => (axis === dimension ? value : 0));
}

async function encoded(texts, named, signal) {
  const reply = await call("POST", "/encode", { body: { texts, ...named }, signal });
  return reply.data.map((row) => row.mu);
}
