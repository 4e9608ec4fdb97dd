// Map: texts as points of a plane. A click anywhere writes the sentence of that very point; a line is a walk.

import { replaceAddress } from "../address.js";
import { call } from "../api.js";
import { copy, download, h } from "../dom.js";
import { actionBar } from "../parts/actions.js";
import { acceptDrops, columnChoice, dropZone } from "../parts/drop.js";
import { fieldFor, stateOf } from "../parts/fields.js";
import { marked } from "../parts/marked.js";
import { runner } from "../parts/runner.js";
import { scatter } from "../parts/scatter.js";
import { trail } from "../parts/trail.js";
import { besideText, blended, nearest, onPlane, weightsAround } from "../plane.js";
import * as sets from "../sets.js";
import { labelsOf, written } from "../spread.js";
import { TextTable, guess, readFile, readPasted, toCsv } from "../tables.js";
import { colours } from "../charts.js";

const DRAWN = 128; // texts the set is asked for where there is no file
const WALK_STEPS = 9;
const MOST_TEXTS = 5000;
const LISTED = 200;
const KEPT = "adavae.map";
const DEFAULTS = { method: "pca", lift: "text" };

export function mount(root, values) {
  const state = stateOf(DEFAULTS, values);
  let table = keptTable();
  let map = null;
  let request = null;
  let plot = null;
  const [outlet, pointOutlet] = [h("div", { class: "outlet" }), h("div", { class: "outlet" })];
  const legend = h("div", { class: "legend", role: "group", "aria-label": "Labels" });
  const facts = h("p", { class: "muted map-facts", role: "status" });
  const side = h("div", { class: "map-side" });
  const place = h("div", { class: "map-place" }, h("p", { class: "muted" }, "Drawing…"));
  const columns = h("div", {});
  const running = runner({ outlet, busy: place, work: load, onError: () => {} });
  let point = () => {};
  const pointing = runner({ outlet: pointOutlet, busy: side, work: (signal) => point(signal) });
  const tools = h("div", { class: "fields map-tools" });
  const modes = { mode: "explore" };

  root.append(
    h("header", { class: "panel-head" }, h("h1", {}, "Map"), h("p", {}, "Every text is a point. Click anywhere, also where there is none: the set writes the sentence of that very place.")),
    tools,
    h("div", { class: "map" }, h("div", {}, place, legend, facts), side),
    outlet,
    h("div", { class: "under-stage" }, h("div", { class: "actions map-export" }, exportButtons()), actionBar({ request: () => request, link: false })),
    h("header", { class: "panel-head second" }, h("h2", {}, "Your own texts"), h("p", {}, "One a line, or a table; labels become colours.")),
    dropZone({ title: "Drop a file here", hint: `A spreadsheet, .txt, .tsv, .csv or .jsonl; up to ${MOST_TEXTS} lines are drawn`, onFile: take, onPaste: (text) => use(() => readPasted(text)) }),
    columns,
  );
  acceptDrops(root, take);
  const onSet = () => {
    if (!table?.isOwn) table = null;
    running.run();
  };
  window.addEventListener("set-chosen", onSet);
  begin();
  return {
    end() {
      running.end();
      pointing.end();
      plot?.end();
      window.removeEventListener("set-chosen", onSet);
    },
  };

  async function begin() {
    showTools();
    hint();
    plot = await scatter({ onPick: pick, onLine: walk, onLasso: list });
    place.replaceChildren(plot.element);
    await plot.begin();
    running.run();
  }

  function showTools() {
    const again = () => running.run();
    const specs = [
      [{ name: "mode", label: "Drag to", kind: "segments", values: [["explore", "Move"], ["walk", "Walk"], ["lasso", "Lasso"]] }, modes, () => { plot.mode = modes.mode; }],
      [{ name: "method", label: "Projection", kind: "segments", values: [["pca", "PCA", "The two directions in which the texts differ most"], ["tsne", "t-SNE", "Neighbours stay neighbours; distances mean little"]] }, state, again],
      [{ name: "lift", label: "Way back", kind: "segments", values: [["text", "Beside the nearest text", "What the plane does not show is taken from the nearest text"], ["plane", "On the plane", "What the plane does not show is the average"]] }, state, saveAddress],
    ];
    tools.replaceChildren(...specs.filter(([spec]) => spec.name !== "lift" || state.method === "pca").map(([spec, own, changed]) => fieldFor(spec, own, changed)));
    tools.append(h("button", { type: "button", class: "quiet", onclick: () => plot?.reset() }, "Show everything"));
  }

  function exportButtons() {
    const name = () => (table?.name ?? "map").replace(/\.\w+$/, "");
    const lines = () => map.data.map((row, index) => [map.texts[index], row.label ?? "", row.x, row.y]);
    return [
      h("button", { type: "button", class: "quiet", onclick: () => map && saveImage(`${name()}.png`) }, "PNG"),
      h("button", { type: "button", class: "quiet", onclick: () => map && download(`${name()}-map.csv`, toCsv(["text", "label", "x", "y"], lines()), "text/csv;charset=utf-8") }, "CSV"),
      h("button", { type: "button", class: "quiet", onclick: () => map && pairs() }, "Closest pairs"),
    ];
  }

  function saveImage(name) {
    const [, data] = plot.image().split(",");
    const bytes = Uint8Array.from(atob(data), (character) => character.charCodeAt(0));
    download(name, new Blob([bytes], { type: "image/png" }));
  }

  async function take(file) {
    await use(() => readFile(file));
  }

  async function use(read) {
    try {
      table = owned(await read());
    } catch (error) {
      running.cancel();
      outlet.replaceChildren(h("div", { class: "problem", role: "alert" }, error.message));
      outlet.scrollIntoView({ block: "nearest" });
      return;
    }
    const chosen = (own) => {
      table = owned(own);
      running.run();
    };
    columns.replaceChildren(...(table.columns ? [columnChoice(table, guess(table), chosen)] : []));
    root.scrollIntoView({ block: "start" });
    running.run();
  }

  function saveAddress() {
    replaceAddress("map", { set: sets.reference(), ...Object.fromEntries(Object.entries(state).filter(([name, value]) => value !== DEFAULTS[name])) });
  }

  /** Draws the table; without one, what the set itself says. */
  async function load(signal) {
    saveAddress();
    showTools();
    table ??= await drawn(signal);
    const all = table.rows.length;
    const rows = table.rows.slice(0, MOST_TEXTS);
    const labels = table.labels ? rows.map((row) => row.label.slice(0, 100)) : null;
    const body = { texts: rows.map((row) => row.text), method: state.method, truncate: true };
    if (labels) body.labels = labels;
    if (sets.reference()) body.adapter = sets.reference();
    request = { method: "POST", path: "/map", body };
    facts.textContent = `Drawing ${rows.length} texts…`;
    const reply = await call("POST", "/map", { body, signal });
    keep(table);
    map = { ...reply, texts: body.texts, labels, points: reply.data.map((row) => [row.x, row.y]), id: `${reply.adapter.name}@${reply.adapter.version}`, mus: new Map() };
    const names = labels ? commonest(labels) : [];
    plot.show({ points: map.points, texts: map.texts, labels, names });
    root.dataset.drawn = `${map.method} ${map.points.length}`;
    showLegend(names);
    facts.textContent = said(all, rows.length);
    pick(middle(map.points), null);
  }

  function said(all, shown) {
    const parts = [`${table.name}: ${shown}${all > shown ? ` of ${all}` : ""} texts`];
    if (map.explained) parts.push(`the plane shows ${percent(map.explained[0] + map.explained[1])} of what differs`);
    if (map.separation) parts.push(`a linear classifier on z tells the labels with ${percent(map.separation.accuracy)} (always the commonest: ${percent(map.separation.majority)})`);
    return parts.join(" · ");
  }

  function showLegend(names) {
    const hidden = new Set();
    const { labels: palette } = colours();
    legend.replaceChildren(
      ...names.slice(0, 40).map((name, place) =>
        h(
          "label",
          { class: "legend-item" },
          h("input", {
            type: "checkbox", checked: true,
            onchange: (event) => {
              if (event.target.checked) hidden.delete(name);
              else hidden.add(name);
              plot.hide(hidden);
            },
          }),
          h("i", { class: `dot dot-${place % palette.length}` }),
          `${name} `,
          h("span", { class: "muted" }, String(map.labels.filter((label) => label === name).length)),
        ),
      ),
    );
  }

  function hint() {
    side.replaceChildren(h("p", { class: "side-empty muted" }, "Click on the map to read it. Drag with ", h("em", {}, "Walk"), " to go from one place to another, with ", h("em", {}, "Lasso"), " to list texts."), pointOutlet);
  }

  /** The sentence of one point. */
  function pick(at, index) {
    plot.mark(at);
    plot.line([]);
    plot.lasso([]);
    point = async (signal) => {
      const z = await latent(at, signal);
      const reply = await decode([z], signal);
      const text = reply.data[0].text;
      const near = nearest(map.points, at, 3).map((each) => each.index);
      const shown = index ?? null;
      side.replaceChildren(
        h("h3", { class: "muted" }, shown === null ? "Written for this very place" : "This text, as the set gives it back"),
        h("p", { class: "hero-sentence", "aria-live": "polite" }, ...marked(map.texts[near[0]], text)),
        h("p", { class: "muted small" }, "Marked: what the nearest text has not."),
        h("h3", { class: "muted" }, "Nearest texts"),
        h("ul", { class: "near" }, near.map((each) => textItem(each))),
        h("div", { class: "actions" }, h("button", { type: "button", class: "quiet", onclick: () => copy(text, "Text copied") }, "Copy"), walkLink(text, map.texts[near[0]])),
        pointOutlet,
      );
    };
    pointing.run();
  }

  function walkLink(from, to) {
    const query = new URLSearchParams({ source: from, target: to, ...(sets.reference() ? { set: sets.reference() } : {}) });
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
      const [first, last] = await Promise.all([latent(from, signal), latent(to, signal)]);
      const zs =
        state.method === "pca"
          ? way.map((_, step) => first.map((value, axis) => value + (last[axis] - value) * (step / (WALK_STEPS - 1))))
          : await Promise.all(way.map((each) => latent(each, signal)));
      const reply = await decode(zs, signal);
      const rows = reply.data.map((row, step) => ({ place: (step / (WALK_STEPS - 1)).toFixed(2), text: row.text }));
      const onSelect = (index) => {
        sentences.select(index);
        plot.mark(way[index]);
      };
      const sentences = trail(onSelect);
      sentences.show(rows);
      side.replaceChildren(h("h3", { class: "muted" }, "The walk"), sentences.element, h("div", { class: "actions" }, h("button", { type: "button", class: "quiet", onclick: () => copy(rows.map((row) => row.text).join("\n"), "Walk copied") }, "Copy")), pointOutlet);
      onSelect(0);
    };
    pointing.run();
  }

  /** What a lasso holds. */
  function list(indices) {
    plot.mark(null);
    plot.line([]);
    const texts = indices.map((index) => map.texts[index]);
    side.replaceChildren(
      h("h3", { class: "muted", role: "status" }, `${indices.length} texts${counted(indices)}`),
      h("ul", { class: "near listed", tabindex: "0", "aria-label": "Texts in the lasso" }, indices.slice(0, LISTED).map((index) => textItem(index))),
      indices.length > LISTED && h("p", { class: "muted small" }, `The first ${LISTED}; copying takes all.`),
      h("div", { class: "actions" }, h("button", { type: "button", class: "quiet", onclick: () => copy(texts.join("\n"), `${texts.length} texts copied`) }, "Copy all")),
      pointOutlet,
    );
  }

  /** Texts whose encodings are closest: copies, and what nearly is one. */
  function pairs() {
    const found = new Map();
    for (const { index, nearest: other, distance } of map.data) {
      const pair = [Math.min(index, other), Math.max(index, other)];
      found.set(pair.join(), { pair, distance });
    }
    const sorted = [...found.values()].sort((a, b) => a.distance - b.distance).slice(0, LISTED);
    const csv = () => toCsv(["distance", "first_line", "first", "second_line", "second"], sorted.map(({ pair: [a, b], distance }) => [distance, a + 1, map.texts[a], b + 1, map.texts[b]]));
    const show = ({ pair: [a, b], distance }) =>
      h(
        "li",
        {},
        h("button", { type: "button", onclick: () => { plot.line([map.points[a], map.points[b]]); plot.mark(null); } },
          h("span", { class: "muted small" }, distance < 1e-3 ? "the same" : `distance ${distance.toFixed(2)}`), h("span", {}, map.texts[a]), h("span", {}, ...marked(map.texts[a], map.texts[b]))),
      );
    side.replaceChildren(
      h("h3", { class: "muted", role: "status" }, "Closest pairs"),
      h("ul", { class: "near pairs listed", tabindex: "0", "aria-label": "Pairs, the closest first" }, sorted.slice(0, 60).map(show)),
      h("div", { class: "actions" }, h("button", { type: "button", class: "quiet", onclick: () => download("pairs.csv", csv(), "text/csv;charset=utf-8") }, "CSV")),
      pointOutlet,
    );
  }

  function textItem(index) {
    const label = map.labels?.[index];
    return h("li", {}, h("button", { type: "button", onclick: () => plot.mark(map.points[index]) }, h("span", {}, map.texts[index]), label && h("span", { class: "muted small" }, label)));
  }

  function counted(indices) {
    if (!map.labels) return "";
    return `: ${commonest(indices.map((index) => map.labels[index])).slice(0, 4).map((name) => `${indices.filter((index) => map.labels[index] === name).length} ${name}`).join(", ")}`;
  }

  /** z of a point of the map, by the way back that is chosen. */
  async function latent(at, signal) {
    if (map.basis && state.lift === "plane") return onPlane(map, at);
    if (map.basis) {
      const { index } = nearest(map.points, at, 1)[0];
      const [mu] = await encodings([index], signal);
      return besideText(map, at, mu, map.points[index]);
    }
    const around = weightsAround(map.points, at);
    const mus = await encodings(around.map((each) => each.index), signal);
    return blended(mus, around.map((each) => each.weight));
  }

  /** Encodings of some of the map's texts; the service has them in its cache. */
  async function encodings(indices, signal) {
    const missing = indices.filter((index) => !map.mus.has(index));
    if (missing.length) {
      const body = { texts: missing.map((index) => map.texts[index]), truncate: true, adapter: map.id };
      const reply = await call("POST", "/encode", { body, signal });
      reply.data.forEach((row, place) => map.mus.set(missing[place], row.mu));
    }
    return indices.map((index) => map.mus.get(index));
  }

  async function decode(zs, signal) {
    const body = { z: zs.map((z) => z.map((value) => Math.round(value * 1e5) / 1e5)), adapter: map.id };
    request = { method: "POST", path: "/decode", body };
    return call("POST", "/decode", { body, signal });
  }

  /** Texts that the set itself writes, coloured by its own head where it has one. */
  async function drawn(signal) {
    const set = sets.current();
    if (!set) throw new Error(`No adapter set ${sets.reference()} is installed: choose another one.`);
    facts.textContent = `The set writes ${DRAWN} sentences to draw a map of…`;
    const texts = await written(set, DRAWN, signal);
    const labels = set.labels.length ? await labelsOf(set, texts, signal) : [];
    return Object.assign(new TextTable("Written by the set", texts.map((text, index) => ({ text, label: labels[index] ?? "" }))), { set: set.id });
  }
}

const percent = (share) => `${(share * 100).toFixed(share < 0.1 ? 1 : 0)} %`;

const owned = (table) => Object.assign(table, { isOwn: true });

/** The middle of all points, where mostly there is no text: what is shown there was never written by anybody. */
function middle(points) {
  return [0, 1].map((axis) => points.reduce((sum, point) => sum + point[axis], 0) / points.length);
}

/** Different labels, the most frequent first. */
function commonest(labels) {
  const counts = new Map();
  for (const label of labels) counts.set(label, (counts.get(label) ?? 0) + 1);
  return [...counts.entries()].sort((a, b) => b[1] - a[1] || a[0].localeCompare(b[0])).map(([name]) => name);
}

/** The texts survive a reload of the tab where they are not too many for its storage. */
function keep(table) {
  try {
    sessionStorage.setItem(KEPT, JSON.stringify({ name: table.name, rows: table.rows, isOwn: Boolean(table.isOwn), set: table.set ?? null }));
  } catch {
    sessionStorage.removeItem(KEPT);
  }
}

function keptTable() {
  try {
    const kept = JSON.parse(sessionStorage.getItem(KEPT));
    if (!kept || (!kept.isOwn && kept.set !== sets.current()?.id)) return null;
    return Object.assign(new TextTable(kept.name, kept.rows), { isOwn: kept.isOwn, set: kept.set });
  } catch {
    return null;
  }
}
