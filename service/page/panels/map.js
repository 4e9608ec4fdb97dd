// Map: texts as points of a plane. A click anywhere writes the sentence of that very point; a line is a walk.

import { addressOf, replaceAddress } from "../address.js";
import { ApiError, call } from "../api.js";
import { download, h, refill } from "../dom.js";
import { keep, keptTable, linkedTable, linkedTexts } from "../map/kept_texts.js";
import { commonest, counted } from "../map/labels.js";
import { readingOf } from "../map/reading.js";
import { actionBar } from "../parts/actions.js";
import { acceptDrops, columnChoice, dropZone } from "../parts/drop.js";
import { addressValues, fieldFor, stateOf } from "../parts/fields.js";
import { FileSource } from "../parts/file_source.js";
import { runner } from "../parts/runner.js";
import { MOST_COLOURS, scatter } from "../parts/scatter.js";
import * as sets from "../sets.js";
import { labelsOf, written } from "../traverse/spread.js";
import { TextTable, toCsv } from "../tables.js";
import { colours } from "../charts.js";

const DRAWN = 128; // texts the set is asked for where there is no file
const MOST_TEXTS = 5000;
const MOST_OF_ADDRESS = 8000; // characters; longer ones are cut off where they are sent on
const DEFAULTS = { method: "pca", lift: "text", at: "", to: "" };

export function mount(root, values) {
  const state = stateOf(DEFAULTS, values);
  let table = linkedTable(values.texts) ?? keptTable();
  let map = null; // what is drawn, with its table
  let request = null;
  let plot = null;
  let beginning = null;
  const source = new FileSource();
  const outlet = h("div", { class: "outlet" });
  const legend = h("div", { class: "legend", role: "group", "aria-label": "Labels" });
  const facts = h("p", { class: "muted map-facts", role: "status" });
  const place = h("div", { class: "map-place" }, h("p", { class: "muted" }, "Drawing…"));
  const columns = h("div", {});
  const running = runner({ outlet, busy: place, work: load, onError: failed });
  const onRequest = (sent) => {
    request = sent;
  };
  const reading = readingOf({ state, onRequest, onPlace: saveAddress });
  const tools = h("div", { class: "fields map-tools" });
  const modes = { mode: "explore" };

  root.append(
    h(
      "header",
      { class: "panel-head" },
      h("h1", {}, "Map"),
      h(
        "p",
        {},
        "Every text is a point. Click anywhere, also where there is none: the set writes the sentence of that very place.",
      ),
    ),
    tools,
    h("div", { class: "map" }, h("div", {}, place, legend, facts), reading.element),
    outlet,
    h(
      "div",
      { class: "under-stage" },
      h("div", { class: "actions map-export" }, exportButtons()),
      actionBar({ request: () => request, link: linkTo }),
    ),
    h(
      "header",
      { class: "panel-head second" },
      h("h2", {}, "Your own texts"),
      h("p", {}, "One a line, or a table; labels become colours."),
    ),
    dropZone({
      title: "Drop a file here",
      hint: `A spreadsheet, .txt, .tsv, .csv, .jsonl, .json or .parquet, also compressed; up to ${MOST_TEXTS} texts are drawn`,
      onFile: take,
    }),
    columns,
  );
  acceptDrops(root, take);
  const onSet = () => {
    if (!table?.isOwn) table = null;
    again();
  };
  const onKnown = () => map ?? running.run();
  window.addEventListener("set-chosen", onSet);
  window.addEventListener("sets-known", onKnown);
  begin();
  return {
    end() {
      running.end();
      reading.end();
      plot?.end();
      window.removeEventListener("set-chosen", onSet);
      window.removeEventListener("sets-known", onKnown);
    },
  };

  async function begin() {
    showTools();
    plot = await scatter({ onPick: reading.pick, onLine: reading.walk, onLasso: reading.list });
    reading.begin(plot);
    running.run();
  }

  /** Draws anew, where no place means what it did. */
  function again() {
    Object.assign(state, { at: "", to: "" });
    running.run();
  }

  function showTools() {
    const specs = [
      [
        {
          name: "mode",
          label: "Drag to",
          kind: "segments",
          values: [
            ["explore", "Move"],
            ["walk", "Walk"],
            ["lasso", "Lasso"],
          ],
        },
        modes,
        () => {
          plot.mode = modes.mode;
        },
      ],
      [
        {
          name: "method",
          label: "Projection",
          kind: "segments",
          values: [
            ["pca", "PCA", "The two directions in which the texts differ most"],
            ["tsne", "t-SNE", "Neighbours stay neighbours; distances mean little"],
          ],
        },
        state,
        again,
      ],
      [
        {
          name: "lift",
          label: "Way back",
          kind: "segments",
          values: [
            ["text", "Beside the nearest text", "What the plane does not show is taken from the nearest text"],
            ["plane", "On the plane", "What the plane does not show is the average"],
          ],
        },
        state,
        saveAddress,
      ],
    ];
    refill(
      tools,
      ...specs
        .filter(([spec]) => spec.name !== "lift" || state.method === "pca")
        .map(([spec, own, changed]) => fieldFor(spec, own, changed)),
      h("button", { type: "button", class: "quiet", onclick: () => plot?.reset() }, "Show everything"),
      h("button", { type: "button", class: "quiet", onclick: toOwnTexts }, "Your own texts"),
    );
  }

  /** Where a file comes in stands below the map, out of sight. */
  function toOwnTexts() {
    const input = root.querySelector(".drop input");
    root.querySelector(".drop").scrollIntoView({ block: "center" });
    input.focus({ preventScroll: true });
  }

  function exportButtons() {
    const name = () => map.table.name.replace(/\.\w+$/, "");
    const lines = () => map.data.map((row, index) => [map.texts[index], row.label ?? "", row.x, row.y]);
    return [
      h("button", { type: "button", class: "quiet", onclick: () => map && saveImage(`${name()}.png`) }, "PNG"),
      h(
        "button",
        {
          type: "button",
          class: "quiet",
          onclick: () =>
            map && download(`${name()}-map.csv`, toCsv(["text", "label", "x", "y"], lines()), "text/csv;charset=utf-8"),
        },
        "CSV",
      ),
      h("button", { type: "button", class: "quiet", onclick: reading.pairs }, "Closest pairs"),
    ];
  }

  function saveImage(name) {
    const [, data] = plot.image().split(",");
    const bytes = Uint8Array.from(atob(data), (character) => character.charCodeAt(0));
    download(name, new Blob([bytes], { type: "image/png" }));
  }

  function take(file) {
    source.take(file);
    columns.replaceChildren();
    again();
  }

  function choose(names) {
    source.choose(names);
    again();
  }

  /** Reads what was given since the last time. */
  async function read(signal) {
    const found = await source.read(MOST_TEXTS, signal).catch((error) => {
      outlet.scrollIntoView({ block: "nearest" });
      throw error;
    });
    if (!found) return;
    table = owned(found);
    refill(columns, ...(table.hasColumns ? [columnChoice(table, choose)] : []));
    root.scrollIntoView({ block: "start" });
  }

  function saveAddress() {
    replaceAddress("map", { set: sets.reference(), ...addressValues(state, DEFAULTS) });
  }

  /** The address of this very map: with a user's own texts in it where they are few. */
  function linkTo() {
    const values = { set: sets.reference(), ...addressValues(state, DEFAULTS) };
    const drawn = map?.table ?? table;
    if (!drawn?.isOwn) return { address: addressOf("map", values) };
    const whole = addressOf("map", { ...values, texts: linkedTexts(drawn) });
    if (whole.length <= MOST_OF_ADDRESS) return { address: whole };
    return { address: addressOf("map", values), told: "Link copied, without the texts: send the file along" };
  }

  /** Draws the table; without one, what the set itself says. */
  async function load(signal) {
    if (!plot) return; // it begins with this
    showTools();
    await showPlot();
    await read(signal);
    table ??= await drawn(signal);
    const rows = table.rows.slice(0, MOST_TEXTS);
    const labels = table.labels ? rows.map((row) => row.label.slice(0, 100)) : null;
    const body = { texts: rows.map((row) => row.text), method: state.method, truncate: true };
    if (labels) body.labels = labels;
    if (sets.reference()) body.adapter = sets.reference();
    request = { method: "POST", path: "/map", body };
    facts.textContent = `Drawing ${rows.length} texts…`;
    const reply = await call("POST", "/map", { body, signal });
    keep(table);
    saveAddress(); // without the texts, which are kept now
    map = {
      ...reply,
      table,
      texts: body.texts,
      labels,
      points: reply.data.map((row) => [row.x, row.y]),
      id: `${reply.adapter.name}@${reply.adapter.version}`,
    };
    const names = labels ? commonest(labels) : [];
    plot.show({ points: map.points, texts: map.texts, labels, names });
    root.dataset.drawn = `${map.method} ${map.points.length}`;
    showLegend(names);
    facts.textContent = said();
    reading.show(map);
  }

  /** The plot, once ECharts is there; every draw waits for it. */
  function showPlot() {
    if (!plot.element.isConnected) place.replaceChildren(plot.element);
    beginning ??= plot.begin().catch(() => {
      beginning = null;
      plot.element.remove();
      throw new ApiError(0, { message: "The part of the page that draws could not be loaded.", code: "load" });
    });
    return beginning;
  }

  /** What was drawn before still stands there; of texts that cannot be drawn, it is what is drawn again. */
  function failed(error) {
    const isStillWanted = map && (map.table.isOwn || map.table.set === sets.current()?.id);
    if (isStillWanted && [413, 422].includes(error.status)) table = map.table;
    facts.textContent = map ? said() : "";
  }

  function said() {
    const { name, read } = map.table;
    const parts = [`${name}: ${read?.has_more ? "the first " : ""}${map.texts.length} texts`];
    if (map.explained) parts.push(`the plane shows ${percent(map.explained[0] + map.explained[1])} of what differs`);
    if (map.separation)
      parts.push(
        `a linear classifier on z tells the labels with ${percent(map.separation.accuracy)} (always the commonest: ${percent(map.separation.majority)})`,
      );
    return parts.join(" · ");
  }

  function showLegend(names) {
    const hidden = new Set();
    const { labels: palette } = colours();
    const counts = counted(map.labels ?? []);
    const others = names.slice(MOST_COLOURS);
    const item = (own, said, colour) => {
      const onchange = ({ target }) => {
        own.forEach((name) => (target.checked ? hidden.delete(name) : hidden.add(name)));
        plot.hide(hidden);
      };
      return h(
        "label",
        { class: "legend-item" },
        h("input", { type: "checkbox", checked: true, onchange }),
        h("i", { class: `dot dot-${colour}` }),
        `${said} `,
        h("span", { class: "muted" }, String(own.reduce((sum, name) => sum + counts.get(name), 0))),
      );
    };
    legend.replaceChildren(
      ...names.slice(0, MOST_COLOURS).map((name, place) => item([name], name, place % palette.length)),
      ...(others.length ? [item(others, `${others.length} other labels`, "others")] : []),
    );
  }

  /** Texts that the set itself writes, coloured by its own head where it has one. */
  async function drawn(signal) {
    const set = await sets.needed();
    facts.textContent = `The set writes ${DRAWN} sentences to draw a map of…`;
    const texts = await written(set, DRAWN, signal);
    const labels = set.labels.length ? await labelsOf(set, texts, signal) : [];
    return Object.assign(
      new TextTable(
        "Written by the set",
        texts.map((text, index) => ({ text, label: labels[index] ?? "" })),
      ),
      { set: set.id },
    );
  }
}

const percent = (share) => `${(share * 100).toFixed(share < 0.1 ? 1 : 0)} %`;

const owned = (table) => Object.assign(table, { isOwn: true });
