// The adapter sets that are installed, and the one that the panels use.

import { listAll } from "./api.js";
import { h } from "./dom.js";

let all = [];
let chosen = "";

const select = () => document.getElementById("set");

/** Every installed version, as GET /adapters gives it. */
export const installed = () => all;

/** The set that `name` or `name@version` means, or undefined; "" is the default. */
export function find(reference) {
  if (!reference) return all.find((set) => set.default && set.current) ?? all.find((set) => set.default);
  return all.find((set) => set.id === reference) ?? all.find((set) => set.name === reference && set.current);
}

/** The chosen set, or undefined where it is not installed. */
export const current = () => find(chosen);

/** What requests name: empty for the service's default. */
export const reference = () => chosen;

/** Chooses a set; panels hear of it by the event `set-chosen`. */
export function choose(name, { quiet = false } = {}) {
  const isDefault = find("")?.name === name;
  const before = chosen;
  chosen = isDefault ? "" : (name ?? "");
  showChosen();
  if (!quiet && chosen !== before) window.dispatchEvent(new Event("set-chosen"));
}

/** Reads what is installed; raises ApiError. */
export async function load() {
  all = await listAll("/adapters");
  showChosen();
  window.dispatchEvent(new Event("sets-loaded"));
}

export function listen() {
  select().addEventListener("change", () => choose(select().value));
}

function showChosen() {
  const usable = all.filter((set) => set.current && !set.problem);
  const options = usable.map((set) => h("option", { value: set.name }, set.name));
  const wanted = chosen || find("")?.name || "";
  if (wanted && !usable.some((set) => set.name === wanted)) options.unshift(h("option", { value: wanted }, wanted));
  const isKnown = options.length > 0;
  select().replaceChildren(...(isKnown ? options : [h("option", { value: "" }, "…")]));
  select().disabled = !isKnown;
  select().value = isKnown ? wanted : "";
}
