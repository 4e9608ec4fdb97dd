// What went wrong, where it went wrong, in the service's own words; with the way on.

import { askForKey } from "../keys.js";
import { h } from "../dom.js";

const TITLES = {
  0: "No connection",
  401: "A key is needed",
  403: "Not allowed",
  404: "Not there",
  409: "Not possible",
  413: "Too large",
  422: "Not understood",
  429: "Too much at once",
  503: "Not ready",
  504: "Too slow",
};

/** An alert for an error; `retry` is called by its button, and by itself once waiting makes sense. */
export function problem(error, retry = null, title = titleOf(error)) {
  const box = h(
    "div",
    { class: "problem", role: "alert", "data-status": error.status ?? "" },
    h("p", {}, h("strong", {}, title), " ", h("span", {}, error.message)),
  );
  const buttons = h("div", { class: "problem-actions" });
  if (error.status === 401 || error.status === 403) {
    buttons.append(
      h(
        "button",
        { type: "button", onclick: () => askForKey(error.message) },
        error.status === 401 ? "Give a key" : "Use another key",
      ),
    );
  }
  if (retry && error.status !== 422 && !error.isFinal) buttons.append(retryButton(error, retry));
  if (error.requestId && error.status >= 500)
    buttons.append(h("span", { class: "muted" }, `request ${error.requestId}`));
  if (buttons.childElementCount) box.append(buttons);
  return box;
}

function titleOf({ status }) {
  return TITLES[status] ?? (status >= 500 ? "The service failed" : "That did not work");
}

function retryButton(error, retry) {
  const wait = h("span", { "aria-hidden": "true" }); // an alert is read out anew whenever it changes
  const button = h("button", { type: "button", onclick: retry }, "Try again", wait);
  if (!error.retryAfterS || !error.isPassing) return button;
  let left = error.retryAfterS;
  const tick = () => {
    if (!button.isConnected && left < error.retryAfterS) return;
    if (left <= 0) {
      retry();
      return;
    }
    wait.textContent = ` (by itself in ${left} s)`;
    left -= 1;
    setTimeout(tick, 1000);
  };
  tick();
  return button;
}
