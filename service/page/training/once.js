// Keys that make a request, however often it is sent, happen once.

/** A key that nobody had before. */
export function newKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
