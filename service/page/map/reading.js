// What is read off a map, beside it: the sentence of a point, a walk, what a lasso holds, the closest pairs.

import { call } from "../api.js";
import { copy, download, h } from "../dom.js";
import { marked } from "../parts/marked.js";
import { runner } from "../parts/runner.js";
import { trail } from "../parts/trail.js";
import { clearing, nearest } from "../plane.js";
import * as sets from "../sets.js";
import { toCsv } from "../tables.js";
import { commonest } from "./labels.js";
import { wayBack } from "./way_back.js";

const WALK_STEPS = 9;
const LISTED = 200;

/**
 * The column beside the map. `state.lift` says which way leads back to z, `state.at` and `state.to` hold the place that is
 * read, or both ends of a walk, as "x,y"; `onRequest` hears of each request, `onPlace` of each choice of a place.
 * `.begin(plot)` and `.show(map)` come before anything is read.
 */
export function readingOf({ state, onRequest, onPlace }) {
  const element = h("div", { class: "map-side" });
  const outlet = h("div", { class: "outlet" });
  let [plot, map, back] = [null, null, null];
  let point = async () => {};
  const pointing = runner({ outlet, busy: element, work: (signal) => point(signal) });
  hint();
  return {
    element,
    begin(given) {
      plot = given;
    },
    show(next) {
      map = next;
      back = wayBack(map, state);
      const [at, to] = [state.at, state.to].map(placeOf);
      if (at && to) walk(at, to);
      else if (at) pick(at, textAt(state.at));
      else pick(clearing(map.points), null);
    },
    pick(at, index) {
      choose(at);
      pick(at, index);
    },
    walk(from, to) {
      choose(from, to);
      walk(from, to);
    },
    list,
    pairs: () => map && pairs(),
    end: pointing.end,
  };

  function choose(...places) {
    [state.at, state.to] = [0, 1].map((each) => (places[each] ? written(places[each]) : ""));
    onPlace();
  }

  /** The text whose point is written like this, or null. */
  function textAt(place) {
    const index = map.points.findIndex((point) => written(point) === place);
    return index < 0 ? null : index;
  }

  function hint() {
    element.replaceChildren(
      h(
        "p",
        { class: "side-empty muted" },
        "Click on the map to read it. Drag with ",
        h("em", {}, "Walk"),
        " to go from one place to another, with ",
        h("em", {}, "Lasso"),
        " to list texts.",
      ),
      outlet,
    );
  }

  /** The sentence of a place; of a text, where `index` names one, what the set makes of it. */
  function pick(at, index) {
    plot.mark(at);
    plot.line([]);
    plot.lasso([]);
    point = async (signal) => {
      const isText = index !== null;
      const z = isText ? await back.ofText(index, signal) : await back.ofPoint(at, signal);
      const reply = await decode([z], signal);
      const text = reply.data[0].text;
      const near = nearest(map.points, at, 3).map((each) => each.index);
      const beside = map.texts[isText ? index : near[0]];
      element.replaceChildren(
        h(
          "h3",
          { class: "muted" },
          isText ? "This text, as the set gives it back" : "Written for this very place",
        ),
        h("p", { class: "hero-sentence", "aria-live": "polite" }, ...marked(beside, text)),
        h("p", { class: "muted small" }, `Marked: what the ${isText ? "text itself" : "nearest text"} has not.`),
        h("h3", { class: "muted" }, "Nearest texts"),
        h(
          "ul",
          { class: "near" },
          near.map((each) => textItem(each)),
        ),
        h(
          "div",
          { class: "actions" },
          h("button", { type: "button", class: "quiet", onclick: () => copy(text, "Text copied") }, "Copy"),
          walkLink(text, beside),
        ),
        outlet,
      );
    };
    pointing.run();
  }

  function walkLink(from, to) {
    const query = new URLSearchParams({
      source: from,
      target: to,
      ...(sets.reference() ? { set: sets.reference() } : {}),
    });
    return h("a", { class: "quiet-link", href: `#/walk?${query}` }, "Walk to the nearest");
  }

  /** Sentences along a line. */
  function walk(from, to) {
    plot.mark(null);
    plot.lasso([]);
    const way = Array.from({ length: WALK_STEPS }, (_, step) => {
      const share = step / (WALK_STEPS - 1);
      return [from[0] + (to[0] - from[0]) * share, from[1] + (to[1] - from[1]) * share];
    });
    plot.line(way);
    point = async (signal) => {
      const [first, last] = await Promise.all([back.ofPoint(from, signal), back.ofPoint(to, signal)]);
      const zs =
        state.method === "pca"
          ? way.map((_, step) => first.map((value, axis) => value + (last[axis] - value) * (step / (WALK_STEPS - 1))))
          : await Promise.all(way.map((each) => back.ofPoint(each, signal)));
      const reply = await decode(zs, signal);
      const rows = reply.data.map((row, step) => ({ place: (step / (WALK_STEPS - 1)).toFixed(2), text: row.text }));
      const onSelect = (index) => {
        sentences.select(index);
        plot.mark(way[index]);
      };
      const sentences = trail(onSelect);
      sentences.show(rows);
      element.replaceChildren(
        h("h3", { class: "muted" }, "The walk"),
        sentences.element,
        h(
          "div",
          { class: "actions" },
          h(
            "button",
            {
              type: "button",
              class: "quiet",
              onclick: () => copy(rows.map((row) => row.text).join("\n"), "Walk copied"),
            },
            "Copy",
          ),
        ),
        outlet,
      );
      onSelect(0);
    };
    pointing.run();
  }

  /** What a lasso holds. */
  function list(indices) {
    pointing.cancel();
    plot.mark(null);
    plot.line([]);
    const texts = indices.map((index) => map.texts[index]);
    element.replaceChildren(
      h("h3", { class: "muted", role: "status" }, `${indices.length} texts${counted(indices)}`),
      h(
        "ul",
        { class: "near listed", tabindex: "0", "aria-label": "Texts in the lasso" },
        indices.slice(0, LISTED).map((index) => textItem(index)),
      ),
      indices.length > LISTED && h("p", { class: "muted small" }, `The first ${LISTED}; copying takes all.`),
      h(
        "div",
        { class: "actions" },
        h(
          "button",
          { type: "button", class: "quiet", onclick: () => copy(texts.join("\n"), `${texts.length} texts copied`) },
          "Copy all",
        ),
      ),
      outlet,
    );
  }

  /** Texts whose encodings are closest: copies, and what nearly is one. */
  function pairs() {
    pointing.cancel();
    const found = new Map();
    for (const { index, nearest: other, distance } of map.data) {
      const pair = [Math.min(index, other), Math.max(index, other)];
      found.set(pair.join(), { pair, distance });
    }
    const sorted = [...found.values()].sort((a, b) => a.distance - b.distance).slice(0, LISTED);
    const csv = () =>
      toCsv(
        ["distance", "first_line", "first", "second_line", "second"],
        sorted.map(({ pair: [a, b], distance }) => [distance, a + 1, map.texts[a], b + 1, map.texts[b]]),
      );
    const show = ({ pair: [a, b], distance }) =>
      h(
        "li",
        {},
        h(
          "button",
          {
            type: "button",
            onclick: () => {
              plot.line([map.points[a], map.points[b]]);
              plot.mark(null);
            },
          },
          h("span", { class: "muted small" }, distance < 1e-3 ? "the same" : `distance ${distance.toFixed(2)}`),
          h("span", {}, map.texts[a]),
          h("span", {}, ...marked(map.texts[a], map.texts[b])),
        ),
      );
    element.replaceChildren(
      h("h3", { class: "muted", role: "status" }, "Closest pairs"),
      h(
        "ul",
        { class: "near pairs listed", tabindex: "0", "aria-label": "Pairs, the closest first" },
        sorted.slice(0, 60).map(show),
      ),
      h(
        "div",
        { class: "actions" },
        h(
          "button",
          { type: "button", class: "quiet", onclick: () => download("pairs.csv", csv(), "text/csv;charset=utf-8") },
          "CSV",
        ),
      ),
      outlet,
    );
  }

  function textItem(index) {
    const label = map.labels?.[index];
    return h(
      "li",
      {},
      h(
        "button",
        { type: "button", onclick: () => plot.mark(map.points[index]) },
        h("span", {}, map.texts[index]),
        label && h("span", { class: "muted small" }, label),
      ),
    );
  }

  function counted(indices) {
    if (!map.labels) return "";
    return `: ${commonest(indices.map((index) => map.labels[index]))
      .slice(0, 4)
      .map((name) => `${indices.filter((index) => map.labels[index] === name).length} ${name}`)
      .join(", ")}`;
  }

  async function decode(zs, signal) {
    const body = { z: zs.map((z) => z.map((value) => Math.round(value * 1e5) / 1e5)), adapter: map.id };
    onRequest({ method: "POST", path: "/decode", body });
    return call("POST", "/decode", { body, signal });
  }
}

/** A place as addresses have it. */
const written = (place) => place.map((value) => Number(value.toFixed(3))).join();

/** "x,y" as a place; null where it is none. */
function placeOf(text) {
  const place = text.split(",").map(Number);
  return text && place.length === 2 && place.every(Number.isFinite) ? place : null;
}
