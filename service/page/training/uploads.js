// The texts of a form on the service: sent once for each choice of columns, and taken back where others stand in for
// them before anybody trained on them.

import { call } from "../api.js";
import { formOf } from "../tables.js";
import { newKey } from "./once.js";

export class Uploads {
  #sending = null; // {file, columns, key}: what is sent again has the key that it had
  #stored = null; // what was sent last, as the service describes it
  #isKept = false;

  /** The file as the service has stored it, read by these columns. */
  async send(file, columns, signal) {
    const chosen = JSON.stringify(columns);
    if (this.#sending?.file !== file || this.#sending.columns !== chosen)
      this.#sending = { file, columns: chosen, key: newKey() };
    const form = formOf(file, columns);
    form.append("purpose", "fine-tune");
    const headers = { "idempotency-key": this.#sending.key };
    const stored = await call("POST", "/v1/files", { form, signal, headers });
    if (this.#stored?.id !== stored.id) this.#takeBack();
    this.#stored = stored;
    return stored;
  }

  /** Whether a job is, or may be, made of what was sent: then it is not taken back. */
  keep(isKept) {
    this.#isKept = isKept;
  }

  #takeBack() {
    if (this.#stored && !this.#isKept) call("DELETE", `/v1/files/${this.#stored.id}`).catch(() => {}); // then it stays
    this.#isKept = false;
  }
}
