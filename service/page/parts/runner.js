// Work that a panel does again and again: the newest call counts, its errors show in the panel, and it recovers.

import { ApiError, Latest } from "../api.js";
import { problem } from "./problem.js";

const BUSY_AFTER_MS = 120;

/**
 * Runs `work(signal)`; a new run cancels the one before.
 * `outlet` shows errors, `busy` is marked as busy while it takes long; `onError` may clear what is out of date. After
 * `.end()` nothing is run any more.
 */
export function runner({ outlet, busy, work, onError = () => {} }) {
  const latest = new Latest();
  let failed = null;
  let numRuns = 0;
  let isOver = false;

  async function run() {
    if (isOver) return; // what was waited for came after the panel was left
    const signal = latest.next();
    const number = (numRuns += 1);
    const slow = setTimeout(() => busy.setAttribute("aria-busy", "true"), BUSY_AFTER_MS);
    try {
      await work(signal);
      if (signal.aborted) return;
      failed = null;
      outlet.replaceChildren();
    } catch (error) {
      if (signal.aborted || error.name === "AbortError") return;
      failed = error;
      onError(error);
      outlet.replaceChildren(problem(error instanceof ApiError ? error : shown(error), run));
    } finally {
      clearTimeout(slow);
      if (number === numRuns) busy.removeAttribute("aria-busy");
    }
  }

  const onBack = () => failed?.isPassing && run();
  const onKey = () => (failed?.status === 401 || failed?.status === 403) && run();
  window.addEventListener("service-back", onBack);
  window.addEventListener("key-given", onKey);
  return {
    run,
    cancel: () => latest.cancel(),
    end() {
      isOver = true;
      latest.cancel();
      window.removeEventListener("service-back", onBack);
      window.removeEventListener("key-given", onKey);
    },
  };
}

/** An error of the page's own, such as a file that cannot be read. */
function shown(error) {
  return new ApiError(-1, { message: error.message, code: "page" }, { isFinal: error.isFinal });
}
