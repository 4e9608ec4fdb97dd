// A request as code that does the same outside the page: for the shell, and for Python.

import { key, urlOf } from "./api.js";

const shellQuoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/** As a command for a shell; a key comes out of the environment, never out of the page. `note` says what comes before. */
export function asCurl({ method, path, body, note = "" }) {
  const parts = [`curl -sS ${method === "GET" ? "" : `-X ${method} `}${shellQuoted(urlOf(path))}`];
  if (key.get()) parts.push('-H "Authorization: Bearer $ADAVAE_API_KEY"');
  if (body !== undefined) parts.push("-H 'Content-Type: application/json'", `-d ${shellQuoted(JSON.stringify(body))}`);
  return commented(note) + parts.join(" \\\n  ");
}

/** As a Python program without anything to install. */
export function asPython({ method, path, body, note = "" }) {
  const headers = [];
  if (body !== undefined) headers.push('"Content-Type": "application/json"');
  if (key.get()) headers.push('"Authorization": "Bearer " + os.environ["ADAVAE_API_KEY"]');
  const lines = [
    "import json",
    ...(key.get() ? ["import os"] : []),
    "from urllib.request import Request, urlopen",
    "",
    ...(body === undefined ? [] : [`body = ${literal(body, "")}`]),
    `request = Request(${JSON.stringify(urlOf(path))}, method="${method}", headers={${headers.join(", ")}})`,
    ...(body === undefined ? [] : ["request.data = json.dumps(body).encode()"]),
    "reply = json.load(urlopen(request))",
    "",
    "print(json.dumps(reply, indent=2))",
  ];
  return `${commented(note)}${lines.join("\n")}\n`;
}

const commented = (note) => (note ? `# ${note.replace(/\s+/g, " ")}\n` : "");

/** A Python literal: JSON, but for three names. */
function literal(value, indent) {
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (Array.isArray(value)) {
    if (value.every((each) => typeof each === "number")) return `[${value.join(", ")}]`;
    const inner = `${indent}    `;
    return value.length ? `[\n${value.map((each) => `${inner}${literal(each, inner)},\n`).join("")}${indent}]` : "[]";
  }
  if (typeof value === "object") {
    const inner = `${indent}    `;
    const entries = Object.entries(value).map(
      ([name, each]) => `${inner}${JSON.stringify(name)}: ${literal(each, inner)},\n`,
    );
    return entries.length ? `{\n${entries.join("")}${indent}}` : "{}";
  }
  return JSON.stringify(value);
}
