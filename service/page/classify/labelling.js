// Labels for many texts, a request after another, all of one version of one set: what was found stays when one fails.

import { call } from "../api.js";

const BATCH = 128;

export class Labelling {
  #adapter;
  #found = []; // {label, score}, one a text

  /** `adapter` is what the first request names; those after it name the version that answered. */
  constructor(table, adapter) {
    this.table = table;
    this.#adapter = adapter;
  }

  get found() {
    return this.#found;
  }

  /** name@version, once something is found. */
  get adapter() {
    return this.#adapter;
  }

  get isWhole() {
    return this.#found.length >= this.table.texts.length;
  }

  /** Goes on from what was found; `onFound` is called after each answer. */
  async goOn(signal, onFound) {
    const { texts } = this.table;
    while (!this.isWhole) {
      const from = this.#found.length;
      const body = { texts: texts.slice(from, from + BATCH), truncate: true, top_k: 1 };
      if (this.#adapter) body.adapter = this.#adapter;
      const reply = await call("POST", "/classify", { body, signal });
      this.#adapter = `${reply.adapter.name}@${reply.adapter.version}`;
      this.#found.push(...reply.data.map((row) => row.scores[0]));
      onFound();
    }
  }
}
