// What the service found in an upload.

import { h } from "../dom.js";
import { gauge } from "../parts/gauge.js";

/** A stored file's report: how many texts, labels and tokens, and what is odd. */
export function reportOf({ filename, report, labels }) {
  const most = Math.max(1, ...Object.values(labels));
  const named = Object.entries(labels).sort((a, b) => b[1] - a[1]);
  const figure = (number, what) => h("div", {}, h("dd", {}, number.toLocaleString("en")), h("dt", {}, what));
  return h(
    "div",
    { class: "report" },
    h("h2", {}, filename),
    h(
      "dl",
      { class: "figures" },
      figure(report.rows, "texts"),
      figure(Object.keys(labels).length, "labels"),
      figure(report.tokens.median, "tokens, median"),
      figure(report.tokens.p90, "tokens, 90 %"),
      figure(report.tokens.longest, "tokens, longest"),
      figure(report.exact_duplicates, "copies"),
    ),
    named.length > 0 &&
      h(
        "div",
        { class: "bars" },
        named
          .slice(0, 12)
          .map(([label, count]) =>
            h(
              "div",
              { class: "bar-row" },
              h("span", { class: "bar-label" }, label),
              gauge(count / most),
              h("span", { class: "bar-score" }, count.toLocaleString("en")),
            ),
          ),
      ),
    named.length > 12 && h("p", { class: "muted small" }, `and ${named.length - 12} more labels`),
    report.warnings.length > 0
      ? h(
          "ul",
          { class: "warnings" },
          report.warnings.map((warning) => h("li", {}, warning)),
        )
      : h("p", { class: "muted" }, "Nothing odd was found."),
  );
}
