// From a point of the map back to z: through the projection's basis, or from the encodings of the texts around it.

const NEAREST = 8;
const GRID = 15; // places in a row

/** z of a point (x, y) on the plane itself: mean + x b0 + y b1. */
export function onPlane(map, [x, y]) {
  return map.mean.map((value, axis) => value + x * map.basis[0][axis] + y * map.basis[1][axis]);
}

/** z that projects to the point exactly and has everything else from a text: mu + (point - its own point) basis. */
export function besideText(map, [x, y], mu, [ownX, ownY]) {
  return mu.map((value, axis) => value + (x - ownX) * map.basis[0][axis] + (y - ownY) * map.basis[1][axis]);
}

/** Where there is no basis: the texts around a point, weighted by nearness, [{index, weight}] with weights of sum 1. */
export function weightsAround(points, [x, y]) {
  const near = nearest(points, [x, y], NEAREST);
  const width = near.at(-1).squared || 1;
  const raw = near.map(({ index, squared }) => ({ index, weight: Math.exp((-4 * squared) / width) }));
  const sum = raw.reduce((total, each) => total + each.weight, 0);
  return raw.map(({ index, weight }) => ({ index, weight: weight / sum }));
}

/** The `number` points nearest to (x, y), [{index, squared}], nearest first. */
export function nearest(points, [x, y], number) {
  const all = points.map(([ownX, ownY], index) => ({ index, squared: (ownX - x) ** 2 + (ownY - y) ** 2 }));
  return all.sort((a, b) => a.squared - b.squared).slice(0, number);
}

/** A place among the points that is as far from all of them as can be: what is written there nobody has written. */
export function clearing(points) {
  const range = (axis) => {
    const sorted = points.map((point) => point[axis]).sort((a, b) => a - b);
    return [0.25, 0.75].map((share) => sorted[Math.round(share * (sorted.length - 1))]);
  };
  const [[left, right], [low, high]] = [range(0), range(1)];
  let [best, most] = [[left, low], -1];
  for (let place = 0; place < GRID * GRID; place += 1) {
    const across = (place % GRID) / (GRID - 1);
    const up = Math.floor(place / GRID) / (GRID - 1);
    const at = [left + across * (right - left), low + up * (high - low)];
    const away = points.reduce((least, [x, y]) => Math.min(least, (x - at[0]) ** 2 + (y - at[1]) ** 2), Infinity);
    if (away > most) [best, most] = [at, away];
  }
  return best;
}

/** The weighted sum of encodings. */
export function blended(mus, weights) {
  return mus[0].map((_, axis) => weights.reduce((sum, weight, row) => sum + weight * mus[row][axis], 0));
}

/** Whether a point lies inside a polygon, both as [x, y]. */
export function isInside([x, y], polygon) {
  let inside = false;
  for (let place = 0, last = polygon.length - 1; place < polygon.length; last = place, place += 1) {
    const [[x1, y1], [x2, y2]] = [polygon[place], polygon[last]];
    if (y1 > y !== y2 > y && x < ((x2 - x1) * (y - y1)) / (y2 - y1) + x1) inside = !inside;
  }
  return inside;
}
