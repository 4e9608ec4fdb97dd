// A sentence with what is new in it marked, and where something is gone, for eyes and for screen readers.

import { h } from "../dom.js";
import { changed } from "../words.js";

/** Nodes of `text`, with the words that `before` has not in <mark>; nothing is marked without `before`. */
export function marked(before, text) {
  if (before === null) return [text || "(nothing)"];
  if (!text) return ["(nothing)"];
  return changed(before, text).map(({ text: own, isNew, gone }) => {
    if (gone) return h("del", { class: "gone", title: `gone: ${gone}` });
    return isNew ? h("mark", {}, own) : own;
  });
}
