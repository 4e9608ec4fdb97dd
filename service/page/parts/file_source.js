// The file that a panel was given, until the service has read it: again after a failure that passes, and again with
// other columns.

import { readTable, sendable } from "../tables.js";

export class FileSource {
  #wanted = null; // {given, columns}, or only columns of the file that was read last
  #file = null;

  /** A new file, whose columns are guessed. */
  take(given) {
    [this.#wanted, this.#file] = [{ given, columns: {} }, null];
  }

  /** The same file with other columns. */
  choose(columns) {
    this.#wanted = { ...this.#wanted, columns };
  }

  /** As it is sent; null until it was read. */
  get file() {
    return this.#file;
  }

  /** The table of what is new since the last time, or null; raises what is wrong with it. */
  async read(limit, signal) {
    const wanted = this.#wanted;
    if (!wanted) return null;
    try {
      const file = wanted.given ? await sendable(wanted.given) : this.#file;
      const table = await readTable(file, { columns: wanted.columns, limit, signal });
      if (this.#wanted === wanted) [this.#wanted, this.#file] = [null, file];
      return table;
    } catch (error) {
      if (isAtFault(error)) {
        error.isFinal = true;
        if (this.#wanted === wanted) this.#wanted = null;
      }
      throw error;
    }
  }
}

/** Whether the file is at fault, and not who sends it or the way it took. */
const isAtFault = (error) => error.name !== "AbortError" && !error.isPassing && ![401, 403].includes(error.status);
