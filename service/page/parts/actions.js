// The row of a panel that hands its state on: the text, the address, the request as a command and as a program.

import { settle } from "../address.js";
import { asCurl, asPython } from "../code.js";
import { copy, h } from "../dom.js";

/**
 * Buttons; `text()` gives what is copied (null: no such button), `request()` {method, path, body} or null. `link` is false,
 * true where the address says it all, or gives {address, told?}.
 */
export function actionBar({ text = null, request, link = true }) {
  const code = (name, write) =>
    h(
      "button",
      {
        type: "button",
        class: "quiet",
        "aria-haspopup": "dialog",
        onclick: () => request() && showCode(name, write(request())),
      },
      name,
    );
  return h(
    "div",
    { class: "actions" },
    text && h("button", { type: "button", class: "quiet", onclick: () => copy(text(), "Text copied") }, "Copy"),
    link && h("button", { type: "button", class: "quiet", onclick: () => copyLink(link) }, "Link"),
    code("as curl", asCurl),
    code("as Python", asPython),
  );
}

function copyLink(link) {
  settle();
  const { address, told = "Link copied" } = typeof link === "function" ? link() : { address: location.hash };
  copy(new URL(address, location.href).href, told);
}

function showCode(name, content) {
  const dialog = h(
    "dialog",
    { class: "code", "aria-label": `This request ${name}`, onclose: () => dialog.remove() },
    h(
      "header",
      {},
      h("h2", {}, `This request ${name}`),
      h("button", { type: "button", class: "quiet", onclick: () => dialog.close() }, "Close"),
    ),
    h("pre", { tabindex: "0" }, h("code", {}, content)),
    h(
      "footer",
      {},
      h("button", { type: "button", class: "main", onclick: () => copy(content, "Code copied") }, "Copy"),
    ),
  );
  document.body.append(dialog);
  dialog.showModal();
}
