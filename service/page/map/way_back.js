// From a point of the map to z, by the way back that is chosen; encodings come out of the service's cache.

import { call } from "../api.js";
import { besideText, blended, nearest, onPlane, weightsAround } from "../plane.js";

/** {ofPoint(point, signal), ofText(index, signal)}: z of a point of `map`, by `state.lift`, "plane" or "text"; and of a text, its own mu. */
export function wayBack(map, state) {
  const known = new Map(); // by index
  return { ofPoint, ofText };

  /** z of a point of the map, by the way back that is chosen. */
  async function ofPoint(at, signal) {
    if (map.basis && state.lift === "plane") return onPlane(map, at);
    if (map.basis) {
      const { index } = nearest(map.points, at, 1)[0];
      const mu = await ofText(index, signal);
      return besideText(map, at, mu, map.points[index]);
    }
    const around = weightsAround(map.points, at);
    const nearby = await encodings(
      around.map((each) => each.index),
      signal,
    );
    return blended(
      nearby,
      around.map((each) => each.weight),
    );
  }

  async function ofText(index, signal) {
    const [mu] = await encodings([index], signal);
    return mu;
  }

  /** Encodings of some of the map's texts; the service has them in its cache. */
  async function encodings(indices, signal) {
    const missing = indices.filter((index) => !known.has(index));
    if (missing.length) {
      const body = { texts: missing.map((index) => map.texts[index]), truncate: true, adapter: map.id };
      const reply = await call("POST", "/encode", { body, signal });
      reply.data.forEach((row, place) => known.set(missing[place], row.mu));
    }
    return indices.map((index) => known.get(index));
  }
}
