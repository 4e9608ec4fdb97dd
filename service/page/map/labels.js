// Labels of many texts, counted.

/** How often there is each. */
export function counted(labels) {
  const counts = new Map();
  for (const label of labels) counts.set(label, (counts.get(label) ?? 0) + 1);
  return counts;
}

/** Different labels, the most frequent first. */
export function commonest(labels) {
  return [...counted(labels).entries()].sort((a, b) => b[1] - a[1] || a[0].localeCompare(b[0])).map(([name]) => name);
}
