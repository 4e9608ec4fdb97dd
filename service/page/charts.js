// ECharts, loaded when the first chart is drawn; colours are those of the style sheet, light or dark.

let loading = null;

/** A chart as large as `element`, until `signal` ends it; null where it was over before ECharts was there. */
export async function chartIn(element, signal) {
  loading ??= import("./vendor/echarts.js").catch((error) => {
    loading = null; // the next chart asks again
    throw error;
  });
  const echarts = await loading;
  if (signal.aborted) return null;
  const chart = echarts.init(element, null, { renderer: "canvas" });
  const watching = new ResizeObserver(() => chart.resize());
  watching.observe(element);
  signal.addEventListener("abort", () => {
    watching.disconnect();
    chart.dispose();
  });
  return chart;
}

/** The style sheet's colours as they are now. */
export function colours() {
  const style = getComputedStyle(document.documentElement);
  const of = (name) => style.getPropertyValue(`--${name}`).trim();
  return {
    ink: of("ink"),
    soft: of("ink-soft"),
    line: of("line"),
    strong: of("line-strong"),
    sheet: of("sheet"),
    accent: of("accent"),
    bad: of("bad"),
    labels: Array.from({ length: 8 }, (_, place) => of(`c${place}`)),
  };
}

/** Calls `redraw` when light turns dark or back; gives a function that ends it. */
export function onTheme(redraw) {
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  dark.addEventListener("change", redraw);
  return () => dark.removeEventListener("change", redraw);
}
