// The API key: asked for where the service wants one, kept for this tab only, and what it may do.

import { ApiError, call, key } from "./api.js";
import { h } from "./dom.js";

let scopes = null;

/** Whether the caller may use panels of a scope; true while nothing is known. */
export const may = (scope) => scopes === null || scopes.includes(scope);

/** Asks the service what the key may do; a missing key is no error, the first request will say so. */
export async function loadScopes() {
  const button = document.getElementById("key");
  button.onclick = () => askForKey("");
  try {
    const reply = await call("GET", "/key");
    scopes = reply.scopes;
    button.hidden = !reply.is_needed;
    button.textContent = key.get() ? `Key: ${scopes.join(", ")}` : "Key";
  } catch (error) {
    if (error.status !== 401) throw error;
    scopes = null;
    button.hidden = false;
    button.textContent = "Give a key";
  }
  window.dispatchEvent(new Event("scopes-known"));
}

/** A dialog for the key; `why` is what the service said. */
export function askForKey(why) {
  if (document.querySelector("dialog.key")) return;
  const input = h("input", {
    type: "password",
    id: "key-input",
    autocomplete: "off",
    required: true,
    value: key.get(),
  });
  const wrong = h("p", { class: "problem", role: "alert", hidden: true });
  const dialog = h(
    "dialog",
    { class: "key", "aria-labelledby": "key-title", onclose: () => dialog.remove() },
    h(
      "form",
      { method: "dialog", onsubmit: (event) => check(event) },
      h("h2", { id: "key-title" }, "An API key"),
      h("p", { class: "muted" }, why || "This service wants a key. Who runs it has one for you."),
      h("label", { for: "key-input" }, "Key"),
      input,
      wrong,
      h("p", { class: "muted" }, "It is kept for this tab and gone when the tab is closed."),
      h(
        "div",
        { class: "dialog-actions" },
        key.get() && h("button", { type: "button", class: "quiet", onclick: forget }, "Forget the key"),
        h("button", { type: "button", class: "quiet", onclick: () => dialog.close() }, "Cancel"),
        h("button", { type: "submit", class: "main" }, "Use this key"),
      ),
    ),
  );
  document.body.append(dialog);
  dialog.showModal();
  input.select();

  async function check(event) {
    event.preventDefault();
    const before = key.get();
    try {
      if (/[^\x21-\x7e]/.test(input.value.trim()))
        throw new ApiError(-1, { message: "A key has no blanks, and no letters with accents: copy it again." });
      key.set(input.value.trim());
      await call("GET", "/key");
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      key.set(before);
      wrong.textContent = error.message;
      wrong.hidden = false;
      return;
    }
    dialog.close();
    await loadScopes();
    window.dispatchEvent(new Event("key-given"));
  }

  async function forget() {
    key.set("");
    dialog.close();
    await loadScopes();
    window.dispatchEvent(new Event("key-given"));
  }
}
