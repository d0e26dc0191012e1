/** One small chart of figures over updates or minutes. */
import { element, fill, shape } from "./element.js";
import { NONE, decimal } from "./number.js";
import { path } from "./sparkline.js";

const HEIGHT = 118;
const TOP = 8;
const BOTTOM = 18;
const LEFT = 34;
const RIGHT = 8;
const MIN_SMOOTHED = 24;

/** A chart of lines, each `{name, label, colour, digits, points}`; all charts of a timeline share `span`, `[from, until]`. */
export class Chart {
  constructor({ title, meaning, max, lines }) {
    this.lines = lines;
    this.max = max;
    this.values = element("span", { class: "chart-values" });
    this.plot = element("div", { class: "plot" });
    const heading = element("h3", { title: meaning }, title);
    this.element = element("figure", { class: "card chart" }, element("figcaption", {}, heading, this.values), this.plot);
    this.cursor = shape("g", { class: "cursor" });
    this.band = shape("rect", { class: "band", y: TOP, height: HEIGHT - TOP - BOTTOM, width: 0 });
  }

  /** Draws the lines at the width that the chart has now. */
  draw(span, format) {
    const width = Math.max(this.plot.clientWidth, 120);
    this.span = span;
    this.width = width;
    const top = this.top();
    this.y = (value) => HEIGHT - BOTTOM - (value / top) * (HEIGHT - TOP - BOTTOM);
    const axis = ticks(top).map((tick) => [
      shape("line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: this.y(tick), y2: this.y(tick) }),
      shape("text", { class: "tick end", x: LEFT - 6, y: this.y(tick) + 3.5 }, tickText(tick)),
    ]);
    const ends = [
      shape("text", { class: "tick", x: LEFT, y: HEIGHT - 4 }, format(span[0])),
      span[1] > span[0] && shape("text", { class: "tick end", x: width - RIGHT, y: HEIGHT - 4 }, format(span[1])),
    ];
    const said = this.lines.map((line) => `${line.label} ${decimal(lastOf(line), line.digits)}`).join(", ");
    const drawing = shape("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, role: "img", "aria-label": `Last: ${said}` }, axis, ends, this.band);
    for (const line of this.lines) drawing.append(...this.drawn(line));
    drawing.append(this.cursor);
    fill(this.plot, drawing);
    this.mark(null);
  }

  /** The largest value of the axis, a round number. */
  top() {
    const values = this.lines.flatMap((line) => line.points.map((point) => point[line.name] ?? 0));
    const largest = Math.max(...values, 0);
    if (largest === 0) return 1;
    return this.max !== undefined && largest > this.max / 2 ? this.max : round(largest);
  }

  x(at) {
    const [from, until] = this.span;
    const inner = this.width - LEFT - RIGHT;
    return until > from ? LEFT + ((at - from) / (until - from)) * inner : LEFT + inner / 2;
  }

  /** What is at a horizontal position of the plot, in pixels. */
  at(pixels) {
    const [from, until] = this.span;
    const share = (pixels - LEFT) / (this.width - LEFT - RIGHT);
    return from + Math.min(Math.max(share, 0), 1) * (until - from);
  }

  /** The line through the points that have its figure: those of the other role have none. */
  drawn(line) {
    const points = line.points.filter((point) => has(point, line));
    const values = points.map((point) => point[line.name]);
    const x = (index) => this.x(points[index].at);
    const isSmoothed = values.length >= MIN_SMOOTHED;
    const lines = [shape("path", { class: `line ink-${line.colour}`, d: path(isSmoothed ? smooth(values) : values, x, this.y) })];
    if (isSmoothed) lines.unshift(shape("path", { class: `line raw ink-${line.colour}`, d: path(values, x, this.y) }));
    return lines;
  }

  /** Moves the crosshair to an update; null shows the last values. */
  mark(at) {
    const shown = this.lines.map((line) => [line, at === null ? lastPoint(line) : nearest(line.points, at)]);
    fill(
      this.values,
      shown.map(([line, point]) =>
        element(
          "span",
          { class: `value ink-${line.colour}` },
          this.lines.length > 1 && element("i", { class: "dot" }),
          this.lines.length > 1 && `${line.label} `,
          element("b", {}, decimal(point?.[line.name], line.digits)),
        ),
      ),
    );
    if (at === null) return fill(this.cursor);
    return fill(
      this.cursor,
      shape("line", { x1: this.x(at), x2: this.x(at), y1: TOP, y2: HEIGHT - BOTTOM }),
      shown.map(([line, point]) => {
        if (point === null || !has(point, line)) return null;
        return shape("circle", { class: `ink-${line.colour}`, cx: this.x(point.at), cy: this.y(point[line.name]), r: 3.2 });
      }),
    );
  }

  /** Shades a range of updates; null shades nothing. */
  shade(range) {
    const [from, until] = range ? range.map((at) => this.x(at)) : [0, 0];
    this.band.setAttribute("x", range ? Math.min(from, until - 2) : 0);
    this.band.setAttribute("width", range ? Math.max(until - from, 2) : 0);
  }
}

/** The point whose `at` is nearest. */
export function nearest(points, at) {
  let best = null;
  for (const point of points) if (best === null || Math.abs(point.at - at) < Math.abs(best.at - at)) best = point;
  return best;
}

function lastPoint(line) {
  return line.points.findLast((point) => has(point, line)) ?? null;
}

function has(point, line) {
  return point[line.name] !== null && point[line.name] !== undefined;
}

function lastOf(line) {
  return lastPoint(line)?.[line.name] ?? null;
}

function round(value) {
  const unit = 10 ** Math.floor(Math.log10(value));
  return [1, 1.5, 2, 3, 4, 5, 8, 10].map((factor) => factor * unit).find((each) => each >= value * 0.999) ?? 10 * unit;
}

function ticks(top) {
  return [0, top / 2, top];
}

function tickText(value) {
  if (value >= 1000) return `${+(value / 1000).toPrecision(2)}k`;
  return value === 0 ? "0" : String(+value.toPrecision(2)) || NONE;
}

/** Means over a window of a twentieth of the points. */
function smooth(values) {
  const half = Math.max(1, Math.floor(values.length / 40));
  return values.map((_, index) => {
    const near = values.slice(Math.max(0, index - half), index + half + 1);
    return near.reduce((sum, each) => sum + each, 0) / near.length;
  });
}
