// The part of Markdown that model cards use, as elements: headings, paragraphs, lists, tables, code. No HTML gets through.

import { h } from "../dom.js";

const HEADING = /^(#{1,6})\s+(.*)/;
const BLOCK = /^(#{1,6}\s|```|\||[-*] )/; // what ends a paragraph
const CODE = /^`([^`]+)`$/;
const STRONG = /^\*\*([^*]+)\*\*$/;
const LINK = /^\[([^\]]+)\]\((https?:[^)\s]+)\)$/;

/** Elements of a card; a block of YAML at its beginning is left out. */
export function markdown(text) {
  const lines = text.replace(/^---\n[\s\S]*?\n---\n/, "").split(/\r?\n/);
  const out = [];
  for (let place = 0; place < lines.length;) {
    const line = lines[place];
    const take = (isPart) => {
      const from = place;
      while (place < lines.length && isPart(lines[place])) place += 1;
      return lines.slice(from, place);
    };
    const heading = line.match(HEADING);
    if (!line.trim()) place += 1;
    else if (heading) {
      out.push(h(`h${Math.min(6, heading[1].length + 2)}`, {}, ...inline(heading[2])));
      place += 1;
    } else if (line.startsWith("```")) {
      place += 1;
      const code = take((each) => !each.startsWith("```"));
      place += 1;
      out.push(h("pre", { tabindex: "0" }, h("code", {}, code.join("\n"))));
    } else if (line.startsWith("|")) out.push(tableOf(take((each) => each.startsWith("|"))));
    else if (/^[-*] /.test(line))
      out.push(
        h(
          "ul",
          {},
          take((each) => /^([-*] |\s+\S)/.test(each)).map((each) =>
            h("li", {}, ...inline(each.replace(/^[-*] |^\s+/, ""))),
          ),
        ),
      );
    else {
      place += 1; // whatever it is: a line that nobody takes would be looked at for ever
      out.push(h("p", {}, ...inline([line, ...take((each) => each.trim() && !BLOCK.test(each))].join(" "))));
    }
  }
  return out;
}

function tableOf(lines) {
  const rows = lines.map((line) =>
    line
      .replace(/^\||\|\s*$/g, "")
      .split(/(?<!\\)\|/)
      .map((cell) => cell.trim().replaceAll("\\|", "|")),
  );
  const [header, , ...body] = rows;
  const hasHeader = header.some(Boolean);
  return h(
    "table",
    {},
    hasHeader &&
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          header.map((cell) => h("th", { scope: "col" }, ...inline(cell))),
        ),
      ),
    h(
      "tbody",
      {},
      body.map((cells) =>
        h(
          "tr",
          {},
          cells.map((cell, place) =>
            place ? h("td", {}, ...inline(cell)) : h("th", { scope: "row" }, ...inline(cell)),
          ),
        ),
      ),
    ),
  );
}

/** Code, emphasis and links of a line; only links to the web are links, and marks that nothing closes are text. */
function inline(text) {
  return text
    .split(/(`[^`]+`|\*\*[^*]+\*\*|\[[^\]]+\]\([^)\s]+\))/g)
    .filter(Boolean)
    .map((part) => {
      const [code, strong, link] = [CODE, STRONG, LINK].map((kind) => part.match(kind));
      if (code) return h("code", {}, code[1]);
      if (strong) return h("strong", {}, strong[1]);
      return link ? h("a", { href: link[2], rel: "noreferrer", target: "_blank" }, link[1]) : part;
    });
}
