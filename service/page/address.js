// The address holds the panel and its state, behind the #: what is typed never reaches a server's log by it.

/** {panel, values} of the address as it stands: #/walk?source=a&target=b */
export function readAddress() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  return { panel: path || "walk", values: Object.fromEntries(new URLSearchParams(query)) };
}

/** The address of a panel in a state; values that are empty are left out. */
export function addressOf(panel, values = {}) {
  const kept = Object.entries(values).filter(([, value]) => value !== "" && value !== null && value !== undefined);
  const query = new URLSearchParams(kept.map(([name, value]) => [name, String(value)])).toString();
  return `#/${panel}${query ? `?${query}` : ""}`;
}

/** Writes the state down without a new entry in the history. */
export function replaceAddress(panel, values) {
  const address = addressOf(panel, values);
  if (address !== location.hash) history.replaceState(null, "", address);
}

/** Goes to a panel, with a new entry in the history. */
export function go(panel, values) {
  location.hash = addressOf(panel, values);
}
