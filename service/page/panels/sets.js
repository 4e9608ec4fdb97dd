// Adapter sets: what is installed, how it measured, what it says; deleting and taking away where the key allows it.

import { replaceAddress } from "../address.js";
import { call, send } from "../api.js";
import { download, h, tell } from "../dom.js";
import { has } from "../features.js";
import { may } from "../keys.js";
import { acceptDrops, dropZone } from "../parts/drop.js";
import { actionBar } from "../parts/actions.js";
import { markdown } from "../parts/markdown.js";
import { runner } from "../parts/runner.js";
import * as sets from "../sets.js";

// Measures in the order in which they are told, with how they are read.
const MEASURES = [
  ["bleu4", "BLEU-4", "Of greedy reconstructions; 100 is perfect"],
  ["exact_match", "exact", "Share of texts that come back as they were"],
  ["accuracy", "accuracy", "Of the classification head"],
  ["neg_elbo", "−ELBO", "Nats a text; less is better"],
  ["reconstruction_nats", "rec.", "Reconstruction, nats a text"],
  ["kl", "KL", "Nats a text"],
  ["mi", "MI", "Mutual information of text and z, nats"],
  ["au", "active", "Active dimensions of z"],
  ["ppl", "PPL", "Perplexity a word"],
];

export function mount(root) {
  const outlet = h("div", { class: "outlet" });
  const table = h("div", {
    class: "table-box sets-table",
    tabindex: "0",
    role: "region",
    "aria-label": "Measures side by side",
  });
  const cards = h("div", { class: "set-cards" });
  const cardEnds = [];
  let shown = "";
  const loading = runner({
    outlet,
    busy: table,
    work: sets.load, // and shown by the event of it
  });
  let archive = null;
  const importing = runner({ outlet, busy: table, work: bringIn });
  const importer = h("div", {});
  acceptDrops(importer, take);
  const showImporter = () =>
    importer.replaceChildren(...(has("POST", "/adapters") && may("admin") ? [importZone()] : []));
  const onScopes = () => {
    showImporter();
    show();
  };
  window.addEventListener("scopes-known", onScopes);
  window.addEventListener("sets-loaded", show);
  showImporter();
  root.append(
    h(
      "header",
      { class: "panel-head" },
      h("h1", {}, "Adapter sets"),
      h("p", {}, "What is installed, and how it measured on texts it had not seen."),
    ),
    outlet,
    table,
    h(
      "div",
      { class: "under-stage" },
      h("div", {}),
      actionBar({ request: () => ({ method: "GET", path: "/adapters" }), link: false }),
    ),
    cards,
    importer,
  );
  loading.run();
  return {
    end() {
      loading.end();
      importing.end();
      window.removeEventListener("scopes-known", onScopes);
      window.removeEventListener("sets-loaded", show);
      cardEnds.forEach((end) => end());
    },
  };

  function importZone() {
    return dropZone({
      title: "Import a set",
      hint: "A .tar.gz as Export gives it. It is checked and tried before anybody is served by it.",
      types: ".gz,.tgz",
      onFile: take,
    });
  }

  function take(file) {
    archive = file;
    importing.run();
  }

  async function bringIn(signal) {
    const headers = { "content-type": "application/gzip" };
    const set = await call("POST", "/adapters", { form: archive, headers, signal });
    tell(`${set.id} is installed`);
    await sets.load();
  }

  /** What is installed; drawn anew where that, or what the key allows, is not what is shown. */
  function show() {
    const all = sets.installed();
    const wanted = JSON.stringify([all, may("admin")]);
    if (wanted === shown) return;
    shown = wanted;
    const told = MEASURES.filter(([name]) => all.some((set) => set.metrics[name] !== undefined));
    table.replaceChildren(
      h(
        "table",
        {},
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            h("th", { scope: "col" }, "Set"),
            h("th", { scope: "col" }, "Kind"),
            h("th", { scope: "col", class: "number" }, "z"),
            told.map(([, label, what]) => h("th", { scope: "col", class: "number", title: what }, label)),
          ),
        ),
        h(
          "tbody",
          {},
          all.map((set) =>
            h(
              "tr",
              { class: set.problem ? "is-refused" : "" },
              h(
                "th",
                { scope: "row" },
                h("strong", {}, set.name),
                " ",
                h("span", { class: "muted version" }, set.version),
              ),
              h("td", {}, set.problem ? "refused" : (set.kind ?? "")),
              h("td", { class: "number" }, set.latent_size ?? ""),
              told.map(([name]) =>
                h("td", { class: "number" }, set.metrics[name] === undefined ? "" : figure(set.metrics[name])),
              ),
            ),
          ),
        ),
      ),
    );
    cardEnds.splice(0).forEach((end) => end());
    cards.replaceChildren(...all.map(setCard));
  }

  function setCard(set) {
    const own = h("div", { class: "outlet" });
    const samples = h("ul", { class: "variants" });
    const card = h("div", { class: "card-text" });
    let seed = 1;
    const drawing = runner({ outlet: own, busy: samples, work: draw });
    const deleting = runner({ outlet: own, busy: samples, work: remove });
    const exporting = runner({ outlet: own, busy: samples, work: takeAway });
    const reading = runner({ outlet: own, busy: card, work: read });
    cardEnds.push(drawing.end, deleting.end, exporting.end, reading.end);
    const canAdmin = may("admin");
    return h(
      "article",
      { class: "set-card", "aria-label": set.id },
      h("header", {}, h("h2", {}, set.name), h("span", { class: "muted version" }, set.version), ...marks(set)),
      set.problem ? h("p", { class: "problem" }, set.problem) : null,
      set.labels.length ? h("p", { class: "muted" }, `Labels: ${set.labels.join(", ")}`) : null,
      h(
        "div",
        { class: "actions" },
        !set.problem &&
          h(
            "a",
            { class: "button", href: `#/walk?set=${encodeURIComponent(set.current ? set.name : set.id)}` },
            "Walk",
          ),
        !set.problem && h("button", { type: "button", onclick: drawing.run }, "Draw sentences"),
        has("GET", "/adapters/{name}/card") &&
          h("button", { type: "button", "aria-expanded": "false", onclick: (event) => toggle(event.target) }, "Card"),
        has("GET", "/adapters/{name}/archive") &&
          canAdmin &&
          !set.problem &&
          h("button", { type: "button", class: "quiet", onclick: exporting.run }, "Export"),
        canAdmin &&
          !set.bundled &&
          h("button", { type: "button", class: "quiet danger", onclick: () => sure(set, deleting.run) }, "Delete"),
      ),
      own,
      samples,
      card,
    );

    async function draw(signal) {
      const body = { samples: 4, adapter: set.id, decoding: { strategy: "sample", temperature: 0.7, seed } };
      seed += 4;
      const reply = await call("POST", "/decode", { body, signal });
      samples.replaceChildren(...reply.data.map((row) => h("li", {}, row.text || "(nothing)")));
    }

    function toggle(button) {
      const isOpen = button.getAttribute("aria-expanded") === "true";
      button.setAttribute("aria-expanded", String(!isOpen));
      reading.cancel();
      if (isOpen) card.replaceChildren();
      else reading.run();
    }

    async function read(signal) {
      const reply = await send("GET", `/adapters/${encodeURIComponent(set.id)}/card`, { signal });
      card.replaceChildren(...markdown(await reply.text()));
    }

    async function takeAway(signal) {
      const reply = await send("GET", `/adapters/${encodeURIComponent(set.id)}/archive`, { signal });
      download(`${set.name}-${set.version}.tar.gz`, await reply.blob());
    }

    async function remove(signal) {
      await call("DELETE", `/adapters/${encodeURIComponent(set.id)}`, { signal }).catch((error) => {
        if (error.status !== 404) throw error; // it is gone, which is what was wanted
      });
      tell(`${set.id} is deleted`);
      await loading.run();
      if (sets.current() || !root.isConnected) return;
      sets.choose("");
      replaceAddress("sets");
    }
  }
}

function marks(set) {
  const told = [
    set.default && "default",
    set.bundled && "bundled",
    !set.current && !set.problem && "older version",
    set.problem && "refused",
  ];
  return told.filter(Boolean).map((what) => h("span", { class: "pill" }, what));
}

/** Asks before something is gone for good. */
function sure(set, go) {
  const dialog = h(
    "dialog",
    { class: "sure", "aria-labelledby": "sure-title", onclose: () => dialog.remove() },
    h("h2", { id: "sure-title" }, `Delete ${set.id}?`),
    h("p", { class: "muted" }, "It cannot be brought back; requests that name it will be refused."),
    h(
      "div",
      { class: "dialog-actions" },
      h("button", { type: "button", autofocus: true, onclick: () => dialog.close() }, "Keep it"),
      h(
        "button",
        {
          type: "button",
          class: "danger",
          onclick: () => {
            dialog.close();
            go();
          },
        },
        "Delete",
      ),
    ),
  );
  document.body.append(dialog);
  dialog.showModal();
}

const figure = (value) =>
  Math.abs(value) >= 1000 ? Math.round(value).toLocaleString("en") : Number(value.toPrecision(3)).toString();
