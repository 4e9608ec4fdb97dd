// What this service can do, read from its own description: controls show only where they have an effect.

import { call } from "./api.js";

let description = null;

/** Reads /openapi.json once; a failure is tried again by the next caller. */
export async function loadFeatures() {
  description ??= await call("GET", "/openapi.json");
}

/** Whether that was read. */
export const isDescribed = () => description !== null;

/** Whether there is a route: has("POST", "/map"). */
export function has(method, path) {
  return Boolean(description?.paths[path]?.[method.toLowerCase()]);
}

/** The schema of a field of a route's JSON body, or null: field("/interpolate", "refine"). */
export function field(path, name) {
  const body = description?.paths[path]?.post?.requestBody?.content?.["application/json"]?.schema;
  return resolved(body)?.properties?.[name] ?? null;
}

/** Whether a field takes a list. */
export function takesList(path, name) {
  const schema = field(path, name);
  const kinds = schema ? [schema, ...(schema.anyOf ?? []), ...(schema.oneOf ?? [])].map(resolved) : [];
  return kinds.some((kind) => kind?.type === "array");
}

/** Follows `$ref`. */
export function resolved(schema) {
  const reference = schema?.$ref;
  return reference
    ? reference
        .slice(2)
        .split("/")
        .reduce((place, name) => place?.[name], description)
    : schema;
}
