// How a job's figures are told.

import { h } from "../dom.js";

/** Measures of a finished set, with the names they are told by. */
export const MEASURES = {
  accuracy: "accuracy",
  bleu4: "BLEU-4",
  exact_match: "exact",
  neg_elbo: "−ELBO",
  kl: "KL",
  mi: "MI",
  au: "active units",
  ppl: "perplexity",
};

/** Three digits that count. */
export const number = (value) =>
  Math.abs(value) >= 1000 ? Math.round(value).toLocaleString("en") : Number(value.toPrecision(3)).toString();

/** A status. */
export const pill = (status) => h("span", { class: `pill is-${status}` }, status);

/** A moment, given in seconds. */
export const when = (seconds) =>
  new Date(seconds * 1000).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" });

/** How long something takes. */
export function duration(seconds) {
  if (seconds < 90) return `${Math.max(1, Math.round(seconds))} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}
