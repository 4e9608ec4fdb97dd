// A run's figures as curves: loss and validation, reconstruction, KL, beta, what decides; each point as it is told.

import { chartIn, colours, onTheme } from "../charts.js";
import { h } from "../dom.js";

const CHARTS = [
  {
    title: "Loss, nats a token",
    lines: [
      ["loss", "training"],
      ["validation_loss", "validation"],
    ],
  },
  { title: "Reconstruction, nats a text", lines: [["reconstruction_nats", "reconstruction"]] },
  { title: "KL, nats a text", lines: [["kl_nats", "KL"]] },
  { title: "β, weight of the KL", lines: [["beta", "β"]] },
  {
    title: "What decides the best step",
    lines: [
      ["score", "validation"],
      ["best_score", "best so far"],
    ],
  },
];
const DRAW_MS = 150;

/** Five small charts; `.add(figures)` takes a point of each, `.begin()` draws once the element is on the page. */
export function curves() {
  const points = new Map(); // by step: a run that went on from a checkpoint tells some steps twice
  const boxes = CHARTS.map(({ title }) => h("div", { class: "curve-canvas", role: "img", "aria-label": title }));
  const latest = CHARTS.map(() => h("span", { class: "muted" }));
  const element = h(
    "div",
    { class: "curves" },
    CHARTS.map(({ title }, place) =>
      h("figure", { class: "curve" }, h("figcaption", {}, h("span", {}, title), latest[place]), boxes[place]),
    ),
  );
  let charts = [];
  let timer = 0;
  let endTheme = () => {};
  const life = new AbortController();
  return {
    element,
    async begin() {
      const begun = await Promise.all(boxes.map((box) => chartIn(box, life.signal)));
      if (life.signal.aborted) return;
      charts = begun;
      endTheme = onTheme(draw);
      draw();
    },
    add(figures) {
      points.set(figures.step, figures);
      element.dataset.points = String(points.size);
      timer ||= setTimeout(draw, DRAW_MS);
    },
    end() {
      clearTimeout(timer);
      endTheme();
      charts = [];
      life.abort();
    },
  };

  function draw() {
    timer = 0;
    const palette = colours();
    const steps = [...points.values()].sort((a, b) => a.step - b.step);
    const last = steps.at(-1)?.total_steps ?? 1;
    charts.forEach((chart, place) => {
      chart.setOption(option(CHARTS[place].lines, steps, last, palette));
      latest[place].textContent = said(CHARTS[place].lines, steps.at(-1));
    });
  }
}

function option(lines, steps, last, { soft, line: rule, labels, accent }) {
  const label = { color: soft, fontFamily: "Inter, sans-serif", fontSize: 11 };
  return {
    animation: false,
    grid: { left: 42, right: 10, top: 12, bottom: 24 },
    xAxis: {
      type: "value",
      min: 0,
      max: last,
      axisLabel: { ...label, hideOverlap: true, show: steps.length > 0 },
      axisLine: { lineStyle: { color: rule } },
      axisTick: { show: false },
      splitLine: { show: false },
    },
    yAxis: {
      type: "value",
      scale: true,
      axisLine: { show: false },
      axisTick: { show: false },
      splitNumber: 3,
      axisLabel: label,
      splitLine: { lineStyle: { color: rule } },
    },
    tooltip: { trigger: "axis", renderMode: "richText", valueFormatter: (value) => Number(value).toPrecision(4) },
    series: lines.map(([key, name], place) => ({
      name,
      type: "line",
      showSymbol: steps.length < 3,
      symbolSize: 5,
      data: steps
        .filter((figures) => figures[key] !== null && figures[key] !== undefined)
        .map((figures) => [figures.step, figures[key]]),
      lineStyle: { width: 2, color: place ? labels[1] : accent },
      itemStyle: { color: place ? labels[1] : accent },
    })),
  };
}

function said(lines, figures) {
  if (!figures) return "";
  return lines
    .filter(([key]) => typeof figures[key] === "number")
    .map(([key, name]) => `${lines.length > 1 ? `${name} ` : ""}${figures[key].toPrecision(3)}`)
    .join(" · ");
}
