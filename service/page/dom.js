// Elements without a framework: h() makes one, and text is only ever text.

/**
 * An element: h("button", { class: "quiet", onclick: go, disabled: true }, "Go").
 * Attributes that are null or false are left out; `value` and `checked` are set as properties.
 */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked") element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Gives `element` other children; the focus stays with its control, or goes to the first one, or to the element. */
export function refill(element, ...children) {
  const focused = element.contains(document.activeElement) ? nameOf(document.activeElement) : null;
  element.replaceChildren(...children);
  if (focused === null) return;
  const controls = [...element.querySelectorAll("a, button, input, select, textarea")];
  const next = controls.find((control) => nameOf(control) === focused) ?? controls[0] ?? element;
  next.focus({ preventScroll: true });
}

/** What a control is called, however often it is made anew. */
function nameOf({ tagName, type, name, id, value, textContent }) {
  const own = (name || id || "").replace(/-\d+$/, "");
  const said = ["radio", "checkbox"].includes(type) ? value : tagName === "SELECT" ? "" : textContent;
  return [tagName, own, said].join(" ");
}

/** Calls `run` once nothing has been asked for during `pauseMs`; `.now()` does not wait. */
export function afterPause(run, pauseMs) {
  let timer = 0;
  const later = () => {
    clearTimeout(timer);
    timer = setTimeout(run, pauseMs);
  };
  later.now = () => {
    clearTimeout(timer);
    run();
  };
  later.cancel = () => clearTimeout(timer);
  return later;
}

/** What can be seen and used now: an open dialog makes all that is outside of it inert. */
const front = () => document.querySelector("dialog[open]") ?? document.body;

/** Says something in passing, to eyes and to screen readers. */
export function tell(message) {
  tell.box ??= document.getElementById("told");
  const told = tell.box;
  if (told.parentElement !== front()) front().append(told);
  told.textContent = message;
  told.classList.add("is-shown");
  clearTimeout(tell.timer);
  tell.timer = setTimeout(() => told.classList.remove("is-shown"), 2400);
}

/** Copies, also where the browser gives pages no clipboard (plain http on another host). */
export async function copy(text, what = "Copied") {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = h("textarea", { class: "visually-hidden", value: text, readonly: true });
    front().append(area);
    area.select();
    const isCopied = document.execCommand("copy");
    area.remove();
    if (!isCopied) {
      tell("This browser does not let the page copy: select it and copy it yourself");
      return;
    }
  }
  tell(what);
}

/** Saves text or a blob as a file. */
export function download(name, content, type = "text/plain;charset=utf-8") {
  const blob = content instanceof Blob ? content : new Blob([content], { type });
  const link = h("a", { href: URL.createObjectURL(blob), download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

let numIds = 0;

/** An id of its own, for labels that point at controls. */
export function newId(prefix) {
  numIds += 1;
  return `${prefix}-${numIds}`;
}
