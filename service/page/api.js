// Requests to the service this page came from: the key, errors in the service's own words, and cancelling.

import { isAnswering, report } from "./connection.js";

const KEY = "adavae.key";
const NOT_SENT =
  "The file could not be sent, although the service answers. It may be too large, or have changed since it was chosen: then choose it again. A folder cannot be sent.";
const BROKE_OFF = "The connection broke off, although the service answers. If that goes on, load the page again: a login may be over.";

/** What the service refused, or why it could not be reached (status 0). */
export class ApiError extends Error {
  constructor(status, detail, { retryAfterS = null, requestId = null, isFinal = false } = {}) {
    super(detail.message);
    this.status = status;
    this.code = detail.code;
    this.param = detail.param;
    this.retryAfterS = retryAfterS;
    this.requestId = requestId;
    this.isFinal = isFinal; // whether sending the same again makes no sense
  }

  /** Whether the same request may well succeed later. */
  get isPassing() {
    return this.status === 0 || [429, 502, 503, 504].includes(this.status);
  }
}

/** What a stream of events ended with: its reply had begun, so there is no status, and another stream may well go on. */
export class StreamError extends ApiError {
  constructor(detail) {
    super(-1, detail);
  }

  get isPassing() {
    return true;
  }
}

/** The key of this tab; it is gone when the tab is. */
export const key = {
  get: () => sessionStorage.getItem(KEY) ?? "",
  set: (value) => (value ? sessionStorage.setItem(KEY, value) : sessionStorage.removeItem(KEY)),
};

/** Where a route lives, also behind a proxy that serves it under a prefix. */
export const urlOf = (path) => new URL(path.replace(/^\//, ""), document.baseURI.split("#")[0]).href;

/** Sends a request, `body` as JSON or `form` as it is, and gives the reply; raises ApiError for any other status than success, AbortError when cancelled. */
export async function send(method, path, { body, form, signal, headers = {} } = {}) {
  const sent = { ...headers };
  if (key.get()) sent.authorization = `Bearer ${key.get()}`;
  if (body !== undefined) sent["content-type"] = "application/json";
  const request = {
    method,
    headers: sent,
    body: form ?? (body === undefined ? undefined : JSON.stringify(body)),
    signal,
    cache: "no-store",
    credentials: "omit",
    redirect: "error",
  };
  const reply = (await replyTo(path, request)) ?? (await replyTo(path, request)); // the second one after a short break
  if (!reply)
    throw form
      ? new ApiError(-1, { message: NOT_SENT, code: "not_sent" }, { isFinal: true })
      : new ApiError(0, { message: BROKE_OFF, code: "broken_off" });
  if (reply.ok) {
    report.answered();
    return reply;
  }
  throw await refusal(reply);
}

/** The service's reply; null where none came although it answers: it may have got the request, or not. Raises ApiError. */
async function replyTo(path, request) {
  try {
    return await fetch(urlOf(path), request);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    if (await isAnswering()) return null;
    report.lost();
    throw new ApiError(0, {
      message: "The service does not answer. The page tries again until it is back.",
      code: "unreachable",
    });
  }
}

/** The reply's JSON. */
export async function call(method, path, options) {
  const reply = await send(method, path, options);
  try {
    return await reply.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, { message: "The service's answer broke off. Send it again.", code: "broken_off" });
  }
}

/** Every entry of a list that comes in pages. */
export async function listAll(path, options) {
  const entries = [];
  for (let after = ""; ;) {
    const page = await call("GET", `${path}${path.includes("?") ? "&" : "?"}limit=100${after}`, options);
    entries.push(...page.data);
    if (!page.has_more || page.data.length === 0) return entries;
    after = `&after=${encodeURIComponent(page.data.at(-1).id)}`;
  }
}

async function refusal(reply) {
  const headers = {
    retryAfterS: Number(reply.headers.get("retry-after")) || null,
    requestId: reply.headers.get("x-request-id"),
  };
  try {
    const { error } = await reply.json();
    return new ApiError(reply.status, error, headers);
  } catch {
    const message = `The answer was ${reply.status} without an explanation: something between this page and the service may have sent it.`;
    return new ApiError(reply.status, { message, code: "no_explanation" }, headers);
  }
}

/** One request at a time: a new one cancels the one before. */
export class Latest {
  #controller = new AbortController();

  next() {
    this.cancel();
    this.#controller = new AbortController();
    return this.#controller.signal;
  }

  cancel() {
    this.#controller.abort();
  }
}

/** Server-sent events of a reply, as {id, data}; raises StreamError where the service says why it ends. */
export async function* events(reply) {
  const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const blocks = (rest + value).split("\n\n");
      rest = blocks.pop();
      for (const block of blocks) {
        const fields = Object.fromEntries(
          block
            .split("\n")
            .filter((line) => !line.startsWith(":") && line.includes(":"))
            .map((line) => line.split(/:\s?(.*)/s, 2)),
        );
        if (fields.event === "error") throw new StreamError(JSON.parse(fields.data).error);
        if (fields.data !== undefined) yield fields;
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
