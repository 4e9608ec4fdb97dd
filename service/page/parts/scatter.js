// Points on a plane to point at: pan and zoom, hover, click, draw a line, draw a lasso; by pointer and by keyboard.

import { chartIn, colours, onTheme } from "../charts.js";
import { h } from "../dom.js";
import { isInside } from "../plane.js";

export const MOST_COLOURS = 40; // labels; what has a rarer one is grey
const HOVER_PX = 14;
const MOVED_PX = 4;
const FEW = 50; // points; of more, a few strays do not decide what is seen at first
const STRAY = 0.04;
const KEYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

/**
 * A scatter plot. Handlers: onPick(point), onLine(from, to), onLasso(indices); points are [x, y] of the data.
 * `.show(map)` takes {points, texts, labels, names}; `.mode` is "explore", "walk" or "lasso".
 */
export async function scatter({ onPick, onLine, onLasso }) {
  const box = h("div", {
    class: "map-canvas",
    tabindex: "0",
    role: "application",
    "aria-label":
      "Map of the texts. Arrow keys move the cross, Enter writes the sentence there, W begins and ends a walk, plus and minus zoom, 0 shows everything.",
    onkeydown: (event) => onKey(event),
  });
  const tip = h("div", { class: "map-tip", hidden: true });
  const element = h("div", { class: "map-box" }, box, tip);
  const plot = {
    element,
    mode: "explore",
    show,
    mark,
    line,
    lasso,
    reset,
    image,
    hide,
    end,
    view: () => ({ ...window_ }),
    zoomBy,
  };
  let chart = null;
  let map = { points: [], texts: [], labels: null, names: [] };
  let hidden = new Set();
  let window_ = { x: [0, 1], y: [0, 1] };
  let whole = { x: [0, 1], y: [0, 1] };
  let cross = null;
  let begun = null;
  let drag = null;
  let overlay = { mark: null, line: null, lasso: null };
  const endTheme = onTheme(() => chart && draw());
  const life = new AbortController();

  /** The chart needs a place on the page first. */
  plot.begin = async () => {
    chart = await chartIn(box, life.signal);
    if (!chart) return;
    const zr = chart.getZr();
    zr.on("mousedown", (event) => press([event.offsetX, event.offsetY]));
    zr.on("mousemove", (event) => move([event.offsetX, event.offsetY]));
    zr.on("mouseup", (event) => release([event.offsetX, event.offsetY]));
    zr.on("globalout", () => {
      tip.hidden = true;
    });
    zr.on("pinch", (event) => {
      drag = null;
      zoomBy(1 / event.pinchScale, toData([event.pinchX, event.pinchY]));
    });
    box.addEventListener("wheel", (event) => wheel(event), { passive: false });
    box.addEventListener("dblclick", reset);
  };
  return plot;

  function show(next) {
    map = next;
    hidden = new Set();
    overlay = { mark: null, line: null, lasso: null };
    cross = null;
    whole = fitted(map.points, 0);
    look(fitted(map.points, map.points.length >= FEW ? STRAY : 0));
  }

  function hide(names) {
    hidden = new Set(names);
    draw();
  }

  function reset() {
    look(whole);
  }

  function look({ x, y }) {
    window_ = { x: [...x], y: [...y] };
    draw();
  }

  /** The smallest window with equal units that holds all points but a share of strays, with room around them. */
  function fitted(points, strays) {
    const range = (axis) => {
      const sorted = points.map((point) => point[axis]).sort((a, b) => a - b);
      const left = Math.floor((sorted.length * strays) / 2);
      return sorted.length ? [sorted[left], sorted[sorted.length - 1 - left]] : [0, 1];
    };
    const [x, y] = [range(0), range(1)];
    const unit =
      Math.max((x[1] - x[0]) / Math.max(1, box.clientWidth), (y[1] - y[0]) / Math.max(1, box.clientHeight), 1e-9) *
      1.12;
    const around = ([low, high], pixels) => {
      const middle = (low + high) / 2;
      return [middle - (unit * pixels) / 2, middle + (unit * pixels) / 2];
    };
    return { x: around(x, box.clientWidth), y: around(y, box.clientHeight) };
  }

  function draw() {
    if (!chart) return;
    const { ink, soft, line: rule, labels, strong, sheet, accent } = colours();
    const axis = (range) => ({
      type: "value",
      min: range[0],
      max: range[1],
      axisLabel: { show: false },
      axisTick: { show: false },
      axisLine: { show: false },
      splitLine: { show: true, lineStyle: { color: rule, opacity: 0.5 } },
      splitNumber: 6,
    });
    const size = map.points.length > 1500 ? 5 : map.points.length > 400 ? 6 : 8;
    chart.setOption(
      {
        animation: false,
        grid: { left: 0, right: 0, top: 0, bottom: 0 },
        xAxis: axis(window_.x),
        yAxis: axis(window_.y),
        series: [
          ...groups().map((data, place) => ({
            type: "scatter",
            large: true,
            largeThreshold: 1,
            silent: true,
            symbolSize: size,
            progressive: 0,
            data,
            itemStyle: { color: colourOf(place, { labels, accent, soft }), opacity: 0.72 },
          })),
          {
            id: "line",
            type: "line",
            silent: true,
            z: 5,
            symbol: "circle",
            symbolSize: 7,
            data: overlay.line ?? [],
            lineStyle: { color: ink, width: 2 },
            itemStyle: { color: ink },
          },
          {
            id: "lasso",
            type: "line",
            silent: true,
            z: 6,
            symbol: "none",
            data: overlay.lasso ?? [],
            lineStyle: { color: ink, width: 1.5, type: "dashed" },
            areaStyle: { color: "transparent" },
          },
          {
            id: "mark",
            type: "scatter",
            silent: true,
            z: 8,
            symbolSize: 18,
            data: overlay.mark ? [overlay.mark] : [],
            itemStyle: {
              color: accent,
              borderColor: sheet,
              borderWidth: 3,
              shadowBlur: 8,
              shadowColor: "rgba(0,0,0,0.35)",
            },
          },
          {
            id: "cross",
            type: "scatter",
            silent: true,
            z: 9,
            symbol: "path://M-10,-1H10V1H-10ZM-1,-10H1V10H-1Z",
            symbolSize: 22,
            data: cross ? [cross] : [],
            itemStyle: { color: ink, opacity: 0.9 },
          },
          { id: "edge", type: "scatter", data: [], itemStyle: { color: strong } },
        ],
      },
      { notMerge: true, lazyUpdate: false },
    );
  }

  /** The points that are seen, by label, the commonest first; those of rare labels are one group, the last. */
  function groups() {
    const place = new Map(map.names.map((name, index) => [name, Math.min(index, MOST_COLOURS)]));
    const found = Array.from({ length: Math.min(map.names.length, MOST_COLOURS + 1) || 1 }, () => []);
    map.points.forEach((point, index) => {
      const name = map.labels?.[index];
      if (!hidden.has(name)) found[place.get(name) ?? 0].push(point);
    });
    return found;
  }

  function colourOf(place, { labels, accent, soft }) {
    if (!map.names.length) return accent;
    return place < MOST_COLOURS ? labels[place % labels.length] : soft;
  }

  /** Only what moves: the window, or what lies over the points. */
  function pan() {
    chart?.setOption({
      xAxis: { min: window_.x[0], max: window_.x[1] },
      yAxis: { min: window_.y[0], max: window_.y[1] },
    });
  }

  function over() {
    chart?.setOption({
      series: [
        { id: "line", data: overlay.line ?? [] },
        { id: "lasso", data: overlay.lasso ?? [] },
        { id: "mark", data: overlay.mark ? [overlay.mark] : [] },
        { id: "cross", data: cross ? [cross] : [] },
      ],
    });
  }

  function mark(point) {
    overlay.mark = point;
    over();
  }

  function line(points) {
    overlay.line = points;
    over();
  }

  function lasso(polygon) {
    overlay.lasso = polygon;
    over();
  }

  function toData([x, y]) {
    const { clientWidth: width, clientHeight: height } = box;
    return [
      window_.x[0] + (x / width) * (window_.x[1] - window_.x[0]),
      window_.y[1] - (y / height) * (window_.y[1] - window_.y[0]),
    ];
  }

  function toPixels([x, y]) {
    const { clientWidth: width, clientHeight: height } = box;
    return [
      ((x - window_.x[0]) / (window_.x[1] - window_.x[0])) * width,
      ((window_.y[1] - y) / (window_.y[1] - window_.y[0])) * height,
    ];
  }

  /** The visible text under the pointer, or null. */
  function textAt([x, y]) {
    let best = null;
    let least = HOVER_PX ** 2;
    const perX = box.clientWidth / (window_.x[1] - window_.x[0]);
    const perY = box.clientHeight / (window_.y[1] - window_.y[0]);
    for (let index = 0; index < map.points.length; index += 1) {
      if (hidden.size && hidden.has(map.labels?.[index])) continue;
      const away =
        ((map.points[index][0] - window_.x[0]) * perX - x) ** 2 +
        ((window_.y[1] - map.points[index][1]) * perY - y) ** 2;
      if (away < least) [best, least] = [index, away];
    }
    return best;
  }

  function press(pixel) {
    box.focus({ preventScroll: true });
    drag = { from: pixel, last: pixel, isMoved: false, path: [toData(pixel)] };
    tip.hidden = true;
  }

  function move(pixel) {
    if (!drag) {
      hover(pixel);
      return;
    }
    const far = Math.hypot(pixel[0] - drag.from[0], pixel[1] - drag.from[1]);
    drag.isMoved ||= far > MOVED_PX;
    if (!drag.isMoved) return;
    if (plot.mode === "walk") line([drag.path[0], toData(pixel)]);
    else if (plot.mode === "lasso") {
      drag.path.push(toData(pixel));
      lasso([...drag.path, drag.path[0]]);
    } else {
      const [dx, dy] = [drag.last[0] - pixel[0], pixel[1] - drag.last[1]];
      shift(
        (dx / box.clientWidth) * (window_.x[1] - window_.x[0]),
        (dy / box.clientHeight) * (window_.y[1] - window_.y[0]),
      );
    }
    drag.last = pixel;
  }

  function release(pixel) {
    if (!drag) return;
    const { isMoved, path } = drag;
    drag = null;
    if (!isMoved) {
      cross = null;
      pickAt(pixel, toData(pixel));
    } else if (plot.mode === "walk") onLine(path[0], toData(pixel));
    else if (plot.mode === "lasso") choose(path);
  }

  /** The text that is shown there, or else the place. */
  function pickAt(pixel, place) {
    const index = textAt(pixel);
    onPick(index === null ? place : map.points[index], index);
  }

  function choose(polygon) {
    onLasso(
      map.points
        .map((_, index) => index)
        .filter((index) => !hidden.has(map.labels?.[index]) && isInside(map.points[index], polygon)),
    );
  }

  function hover(pixel) {
    const index = textAt(pixel);
    tip.hidden = index === null;
    box.style.cursor = plot.mode === "explore" ? "pointer" : "crosshair";
    if (index === null) return;
    const label = map.labels?.[index];
    tip.replaceChildren(label ? h("span", { class: "tip-label" }, label) : "", map.texts[index]);
    const [x, y] = toPixels(map.points[index]);
    tip.style.left = `${Math.min(Math.max(x, 130), box.clientWidth - 130)}px`;
    tip.style.top = `${y}px`;
    tip.classList.toggle("is-below", y < 90);
  }

  function shift(x, y) {
    window_.x = window_.x.map((value) => value + x);
    window_.y = window_.y.map((value) => value + y);
    pan();
  }

  function wheel(event) {
    event.preventDefault();
    tip.hidden = true;
    const bounds = box.getBoundingClientRect();
    zoomBy(
      Math.exp(Math.max(-60, Math.min(60, event.deltaY)) * 0.0035),
      toData([event.clientX - bounds.left, event.clientY - bounds.top]),
    );
  }

  function zoomBy(factor, centre = null) {
    const width = (window_.x[1] - window_.x[0]) * factor;
    const most = (whole.x[1] - whole.x[0]) * 4;
    if (width > most || width < most / 4000) return;
    const [x, y] = centre ?? [(window_.x[0] + window_.x[1]) / 2, (window_.y[0] + window_.y[1]) / 2];
    window_.x = window_.x.map((value) => x + (value - x) * factor);
    window_.y = window_.y.map((value) => y + (value - y) * factor);
    pan();
  }

  function onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const direction = KEYS[event.key];
    if (direction) {
      const step = ((window_.x[1] - window_.x[0]) / box.clientWidth) * (event.shiftKey ? 60 : 14);
      cross ??= [(window_.x[0] + window_.x[1]) / 2, (window_.y[0] + window_.y[1]) / 2];
      cross = [cross[0] + direction[0] * step, cross[1] + direction[1] * step];
      const [x, y] = toPixels(cross);
      if (x < 0 || y < 0 || x > box.clientWidth || y > box.clientHeight)
        shift(direction[0] * step * 10, direction[1] * step * 10);
      over();
      hover(toPixels(cross));
    } else if (event.key === "Enter" && cross) pickAt(toPixels(cross), cross);
    else if (event.key.toLowerCase() === "w" && cross) {
      if (begun) onLine(begun, cross);
      else {
        begun = cross;
        line([cross, cross]);
        return event.preventDefault();
      }
      begun = null;
    } else if (event.key === "+" || event.key === "=") zoomBy(0.8);
    else if (event.key === "-") zoomBy(1.25);
    else if (event.key === "0") reset();
    else return;
    event.preventDefault();
  }

  /** The map as a picture, PNG. */
  function image() {
    return chart.getDataURL({ type: "png", pixelRatio: 2, backgroundColor: colours().sheet });
  }

  function end() {
    endTheme();
    chart = null;
    life.abort();
  }
}
