// The adapter sets that are installed, and the one that the panels use.

import { call, listAll } from "./api.js";
import { h } from "./dom.js";

let all = [];
let chosen = "";
let failure = null; // why it is not known what is installed

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

/** The chosen set, which is asked for where it is not known; raises why it still is not. */
export async function needed() {
  await learn(chosen);
  if (current()) return current();
  throw new Error(`No adapter set ${chosen ? `${chosen} ` : ""}is installed: choose another one, or train one.`);
}

/** Reads the list again where it lacks a set: asked for it by name, the service looks for what has just been trained. */
export async function learn(reference) {
  if (find(reference)) return;
  if (reference) await call("GET", `/adapters/${encodeURIComponent(reference)}`);
  await load();
}

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

/** Reads what is installed; raises ApiError. Panels that began without the chosen set hear of it by `sets-known`. */
export async function load() {
  const wasUnknown = failure !== null || !current();
  try {
    all = await listAll("/adapters");
    failure = null;
  } catch (error) {
    failure = error;
    throw error;
  }
  showChosen();
  window.dispatchEvent(new Event("sets-loaded"));
  if (wasUnknown && current()) window.dispatchEvent(new Event("sets-known"));
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
