// Examples of the chosen set for a panel: what comes for a set that is no longer chosen, or after the panel was left,
// is for nobody.

import { Latest } from "../api.js";
import { examplesFor } from "../examples.js";
import * as sets from "../sets.js";

/** `.ask()` has `onFound(examples)` called, with null where there are none; `.end()` when the panel is left. */
export function newestExamples(onFound) {
  const latest = new Latest();
  return {
    async ask() {
      const signal = latest.next();
      const set = await sets.needed().catch(() => undefined); // what is wrong is told where it is used
      if (signal.aborted) return;
      const found = await examplesFor(set, signal).catch(() => null);
      if (!signal.aborted) onFound(found);
    },
    end: () => latest.cancel(),
  };
}
