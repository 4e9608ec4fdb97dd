// Whether the service can be reached: a line at the top while it cannot, and a sign to the panels when it is back.

const POLL_MS = 1500;
const PATIENCE_MS = 5000;
const bar = () => document.getElementById("connection");

let timer = 0;

/** `lost` and `answered` are told by whoever sends requests. */
export const report = {
  lost() {
    if (timer) return;
    bar().textContent = "The service does not answer. Trying again…";
    bar().hidden = false;
    timer = setInterval(look, POLL_MS);
  },
  answered() {
    if (!timer) return;
    clearInterval(timer);
    timer = 0;
    bar().hidden = true;
    window.dispatchEvent(new Event("service-back"));
  },
};

/** Whether the service can be reached and is ready. */
export async function isAnswering() {
  try {
    return (await askIfReady()).ok;
  } catch {
    return false;
  }
}

const askIfReady = () =>
  fetch(new URL("readyz", document.baseURI.split("#")[0]), {
    cache: "no-store",
    signal: AbortSignal.timeout(PATIENCE_MS),
  });

async function look() {
  try {
    const reply = await askIfReady();
    if (reply.ok) report.answered();
    else bar().textContent = "The service is starting. A moment…";
  } catch {
    // still gone; the next look is on its way
  }
}
