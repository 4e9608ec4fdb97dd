// A share as a bar; the number stands beside it, so that the bar itself is only for eyes.

import { h } from "../dom.js";

/** A bar filled by `share`, 0 to 1. */
export function gauge(share) {
  const fill = h("i");
  fill.style.width = `${Math.max(0, Math.min(1, share)) * 100}%`;
  return h("span", { class: "gauge", "aria-hidden": "true" }, fill);
}
