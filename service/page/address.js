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

const SETTLED_MS = 200; // browsers refuse hundreds of changes in a row, as a slider makes them
let waiting = null;
let timer = 0;

/** Writes the state down without a new entry in the history, once it has settled. */
export function replaceAddress(panel, values) {
  waiting = addressOf(panel, values);
  clearTimeout(timer);
  timer = setTimeout(settle, SETTLED_MS);
}

/** Writes down what waits: before the address is copied, or left. */
export function settle() {
  clearTimeout(timer);
  if (waiting !== null && waiting !== location.hash) history.replaceState(null, "", waiting);
  waiting = null;
}

/** Drops what waits: the panel that wrote it is gone. */
export function forget() {
  clearTimeout(timer);
  waiting = null;
}

window.addEventListener("pagehide", settle);

/** Goes to a panel, with a new entry in the history. */
export function go(panel, values) {
  settle();
  location.hash = addressOf(panel, values);
}
