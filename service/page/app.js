// START READING HERE: the panels, which of them the address asks for, and what all of them share.

import { forget, readAddress, settle } from "./address.js";
import { ApiError, call, key } from "./api.js";
import { h, tell } from "./dom.js";
import { has, isDescribed, loadFeatures } from "./features.js";
import { loadScopes, may } from "./keys.js";
import { problem } from "./parts/problem.js";
import * as sets from "./sets.js";

// Each panel module has mount(root, values) and gives {end()}; `route` is what the service must have for it.
const PANELS = [
  {
    id: "walk",
    title: "Walk",
    scope: "infer",
    route: ["POST", "/interpolate"],
    load: () => import("./panels/walk.js"),
  },
  {
    id: "analogy",
    title: "Analogy",
    scope: "infer",
    route: ["POST", "/analogy"],
    load: () => import("./panels/analogy.js"),
  },
  { id: "map", title: "Map", scope: "infer", route: ["POST", "/map"], load: () => import("./panels/map.js") },
  {
    id: "traverse",
    title: "Traverse",
    scope: "infer",
    route: ["POST", "/decode"],
    load: () => import("./panels/traverse.js"),
  },
  {
    id: "classify",
    title: "Classify",
    scope: "infer",
    route: ["POST", "/classify"],
    load: () => import("./panels/classify.js"),
  },
  {
    id: "train",
    title: "Train",
    scope: "train",
    route: ["POST", "/v1/fine_tuning/jobs"],
    load: () => import("./panels/train.js"),
  },
  { id: "sets", title: "Sets", scope: "infer", route: ["GET", "/adapters"], load: () => import("./panels/sets.js") },
];

const AGAIN_S = 2;

const main = document.getElementById("main");
let shown = { id: null, end: () => {} };
let numShown = 0;
let numBegun = 0;
let waiting = new AbortController();

/** Shows the panel of the address; the same panel hears of other values by being mounted again. */
async function show() {
  const { panel: id, values } = readAddress();
  const panel = PANELS.find((each) => each.id === id) ?? PANELS[0];
  const number = (numShown += 1);
  let hadFocus = false;
  const isOther = shown.id !== null && shown.id !== panel.id;
  shown.end();
  forget();
  sets.choose(values.set ?? "", { quiet: true });
  showNav(panel.id);
  document.title = `${panel.title} · adavae`;
  const root = h("section", { class: `panel panel-${panel.id}`, "aria-label": panel.title });
  shown = { id: panel.id, end: () => {} };
  try {
    const module = await panel.load();
    if (number !== numShown) return;
    hadFocus = main.contains(document.activeElement);
    main.replaceChildren(root);
    shown = { id: panel.id, ...module.mount(root, values) };
  } catch (error) {
    if (number !== numShown) return;
    main.replaceChildren(
      problem(new ApiError(0, { message: "This part of the page could not be loaded.", code: "load" }), show),
    );
  }
  if (isOther || hadFocus) main.focus({ preventScroll: true });
  if (isOther) window.scrollTo(0, 0);
}

function showNav(id) {
  const links = PANELS.filter((panel) => has(...panel.route) || panel.id === id || panel.id === "walk").map((panel) =>
    h(
      "a",
      {
        href: `#/${panel.id}${sets.reference() ? `?set=${encodeURIComponent(sets.reference())}` : ""}`,
        "aria-current": panel.id === id ? "page" : null,
        class: may(panel.scope) ? "" : "is-barred",
        title: may(panel.scope) ? null : `Your key lacks the scope ${panel.scope}`,
      },
      panel.title,
    ),
  );
  const nav = document.getElementById("nav");
  nav.replaceChildren(...links);
  const current = nav.querySelector("[aria-current]");
  if (current && nav.scrollWidth > nav.clientWidth)
    nav.scrollLeft = current.offsetLeft - nav.clientWidth / 2 + current.clientWidth / 2;
}

/** Asks for what all panels share; what the service cannot say yet is asked for again. */
async function begin() {
  const number = (numBegun += 1);
  waiting.abort();
  const shared = [loadFeatures(), loadScopes(), sets.load(), showVersion()];
  const failed = (await Promise.allSettled(shared)).map((each) => each.reason).filter(Boolean);
  showNav(readAddress().panel);
  const passing = failed.filter((error) => error.isPassing);
  if (passing.length && number === numBegun) beginLater(passing);
}

/** Once the service is back, or when it is time: whoever is only loading, or busy, answers all the while. */
function beginLater(errors) {
  waiting = new AbortController();
  const again = async () => {
    const wasBare = !isDescribed();
    await begin();
    if (!wasBare || !isDescribed()) return;
    settle();
    await show(); // with the controls that it lacked
  };
  const timer = setTimeout(again, 1000 * Math.max(AGAIN_S, ...errors.map((error) => error.retryAfterS ?? 0)));
  window.addEventListener("service-back", again, { signal: waiting.signal });
  waiting.signal.addEventListener("abort", () => clearTimeout(timer));
}

/** Which panels the key is good for. */
function opened() {
  const named = (isOpen) => PANELS.filter((panel) => may(panel.scope) === isOpen).map((panel) => panel.title);
  const [open, barred] = [named(true), named(false)];
  return `This key opens ${open.join(", ") || "no panel"}${barred.length ? `; not ${barred.join(", ")}` : ""}`;
}

async function showVersion() {
  const version = await call("GET", "/version");
  document.getElementById("version").textContent =
    `adavae ${version.adavae ?? ""}${version.device ? ` on ${version.device}` : ""}`;
}

window.addEventListener("hashchange", show);
document.addEventListener("click", settle, { capture: true }); // a link leaves the state that it leaves behind
window.addEventListener("scopes-known", () => showNav(shown.id ?? "walk"));
window.addEventListener("sets-loaded", () => showNav(shown.id ?? "walk"));
window.addEventListener("key-given", () => {
  begin();
  if (key.get()) tell(opened());
});
window.addEventListener("set-chosen", () => showNav(shown.id ?? "walk"));
sets.listen();
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
await begin();
await show();
