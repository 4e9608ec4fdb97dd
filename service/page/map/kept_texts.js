// The texts of the map, kept by the tab, so that they survive its reload.

import * as sets from "../sets.js";
import { TextTable } from "../tables.js";

const KEPT = "adavae.map";

/** Keeps them, where they are not too many for the storage of a tab. */
export function keep(table) {
  try {
    sessionStorage.setItem(
      KEPT,
      JSON.stringify({ name: table.name, rows: table.rows, isOwn: Boolean(table.isOwn), set: table.set ?? null }),
    );
  } catch {
    sessionStorage.removeItem(KEPT);
  }
}

/** Those that were kept: a user's own, or those that the chosen set wrote; null where there are none. */
export function keptTable() {
  try {
    const kept = JSON.parse(sessionStorage.getItem(KEPT));
    if (!kept || (!kept.isOwn && kept.set !== sets.current()?.id)) return null;
    return Object.assign(new TextTable(kept.name, kept.rows), { isOwn: kept.isOwn, set: kept.set });
  } catch {
    return null;
  }
}
