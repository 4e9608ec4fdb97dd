// A sentence with what is new in it marked, for eyes and for screen readers.

import { h } from "../dom.js";
import { changed } from "../words.js";

/** Nodes of `text`, with the words that `before` has not in <mark>; nothing is marked without `before`. */
export function marked(before, text) {
  if (before === null) return [text || "(nothing)"];
  if (!text) return ["(nothing)"];
  return changed(before, text).map((piece) => (piece.isNew ? h("mark", {}, piece.text) : piece.text));
}
