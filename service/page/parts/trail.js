// Sentences along a way: a list with what changes from one to the next, of which one is chosen.

import { h } from "../dom.js";
import { marked } from "./marked.js";

/** A list of rows {place, text}; `onSelect(index)` hears of clicks. `.show(rows)` fills it, `.select(index)` marks one. */
export function trail(onSelect) {
  const list = h("ol", { class: "trail" });
  return {
    element: list,
    show(rows) {
      list.replaceChildren(
        ...rows.map((row, index) => {
          const before = index ? rows[index - 1].text : null;
          const isSame = before === row.text;
          return h(
            "li",
            { class: isSame ? "is-same" : "" },
            h(
              "button",
              { type: "button", onclick: () => onSelect(index) },
              h("span", { class: "place" }, row.place),
              h("span", { class: "sentence" }, isSame ? row.text : marked(before, row.text)),
            ),
          );
        }),
      );
    },
    select(index) {
      for (const [place, item] of [...list.children].entries()) {
        item.firstElementChild.setAttribute("aria-current", place === index ? "step" : "false");
      }
    },
  };
}
