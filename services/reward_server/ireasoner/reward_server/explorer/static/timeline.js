/** Charts that share a crosshair and a selection of updates. */
import { Chart, nearest } from "./chart.js";
import { element, fill } from "./element.js";
import { FIGURES } from "./figures.js";
import { clock, many } from "./number.js";

const CHARTS = [
  ["Reward and its components", ["reward", "outcome", "trajectory"]],
  ["Answer entropy, nats", ["entropy_nats"]],
  ["Dominant share", ["dominant_share"]],
  ["Dominant answer is right", ["correct_share"]],
  ["Flips of the dominant answer", ["flip_share"]],
  ["Groups without spread, and ties", ["flat_share", "tie_share"]],
  ["Rollouts abstained or invalid", ["abstained_share", "invalid_share"]],
  ["Words per rollout", ["words"]],
  ["Steps per rollout", ["steps"]],
  ["Proposer reward", ["proposer_reward"]],
];
const SERIES_COLOURS = ["blue", "orange"];

/** Timelines of one run, or of two over each other. `onSelect` gets `[from, until]` or null when the selection changes. */
export class Timeline {
  constructor({ unit, onSelect }) {
    this.unit = unit;
    this.onSelect = onSelect;
    this.series = [];
    this.selection = null;
    this.position = null;
    this.readout = element("p", { class: "readout", "aria-live": "polite" });
    this.grid = element("div", {
      class: "charts",
      tabindex: 0,
      role: "group",
      "aria-label": `Charts over ${unit}s. Arrow keys move the crosshair, with shift they select, escape clears.`,
      on: {
        pointermove: (event) => this.onMove(event),
        pointerdown: (event) => this.onDown(event),
        pointerup: (event) => this.onUp(event),
        pointercancel: () => this.stopDragging(),
        pointerleave: () => this.dragged === undefined && this.mark(null),
        keydown: (event) => this.onKey(event),
      },
    });
    this.element = element("section", { class: "timeline" }, this.readout, this.grid);
    this.charts = [];
    this.resizing = new ResizeObserver(() => this.draw());
    this.resizing.observe(this.grid);
  }

  /** Shows series, each `{name, points}`; the first and the last point set the span. */
  show(series) {
    this.series = series.filter((each) => each.points.length);
    const chosen = series.length > 1 ? perFigure(this.series) : perChart(this.series[0]?.points ?? []);
    this.charts = chosen.map((each) => new Chart(each));
    fill(this.grid, this.charts.map((chart) => chart.element));
    const all = this.series.flatMap((each) => each.points);
    this.span = all.length ? [Math.min(...all.map((point) => point.at)), Math.max(...all.map((point) => point.until))] : [0, 0];
    this.draw();
  }

  draw() {
    if (!this.charts.length) return;
    for (const chart of this.charts) chart.draw(this.span, (at) => this.named(at));
    this.mark(this.position);
    this.select(this.selection);
  }

  /** An update's number, or a minute's time. */
  named(at) {
    return this.unit === "minute" ? clock(60 * at) : String(Math.round(at));
  }

  mark(at) {
    this.position = at;
    for (const chart of this.charts) chart.mark(at);
    const point = at === null ? null : nearest(this.series.flatMap((each) => each.points), at);
    fill(this.readout, point ? `${this.unit} ${this.named(point.at)} · ${many(point.groups, "group")} · ${clock(point.last_s)}` : `Values of the last ${this.unit} that has them. Point at a chart for others; drag to select.`);
  }

  /** Selects a range, widened to whole points: the sums of a point cannot be divided. */
  select(range) {
    this.selection = range && this.whole(range);
    for (const chart of this.charts) chart.shade(this.selection);
  }

  whole([from, until]) {
    const inside = this.series.flatMap((each) => pointsWithin(each.points, [from, until]));
    return [Math.min(from, ...inside.map((point) => point.at)), Math.max(until, ...inside.map((point) => point.until))];
  }

  onMove(event) {
    const chart = this.under(event);
    if (!chart) return;
    const at = this.snapped(chart.at(event.clientX - chart.plot.getBoundingClientRect().left));
    this.mark(at);
    if (this.dragged === undefined) return;
    this.hasMoved ||= at !== this.dragged;
    if (this.hasMoved) this.select(ordered(this.dragged, at));
  }

  onDown(event) {
    const chart = this.under(event);
    if (!chart || event.button !== 0 || event.pointerType === "touch") return;
    event.preventDefault();
    this.grid.focus({ preventScroll: true });
    this.dragged = this.snapped(chart.at(event.clientX - chart.plot.getBoundingClientRect().left));
    this.hasMoved = false;
    this.held = chart;
    this.grid.setPointerCapture(event.pointerId);
  }

  onUp() {
    if (this.dragged === undefined) return;
    if (!this.hasMoved) this.select(null);
    this.stopDragging();
    this.onSelect(this.selection);
  }

  stopDragging() {
    this.dragged = undefined;
    this.held = undefined;
  }

  under(event) {
    return this.held ?? this.charts.find((chart) => chart.plot.contains(event.target));
  }

  snapped(at) {
    return nearest(this.series.flatMap((each) => each.points), at)?.at ?? at;
  }

  onKey(event) {
    const steps = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10, Home: -Infinity, End: Infinity };
    if (event.key === "Escape" && (this.selection || this.position !== null)) {
      this.anchor = undefined;
      this.mark(null);
      this.select(null);
      this.onSelect(null);
      event.stopPropagation();
    } else if (event.key in steps && this.series.length) {
      event.preventDefault();
      this.step(steps[event.key], event.shiftKey);
    }
  }

  step(by, isSelecting) {
    const places = [...new Set(this.series.flatMap((each) => each.points.map((point) => point.at)))].sort((a, b) => a - b);
    const here = this.position === null ? places.length : places.findIndex((at) => at >= this.position);
    const at = places[Math.min(Math.max(here + by, 0), places.length - 1)];
    if (isSelecting) {
      this.anchor ??= this.position ?? at;
      this.select(ordered(this.anchor, at));
      this.onSelect(this.selection);
    } else this.anchor = undefined;
    this.mark(at);
  }
}

/** The points that have updates or minutes of a range. */
export function pointsWithin(points, [from, until]) {
  return points.filter((point) => point.until >= from && point.at <= until);
}

function ordered(a, b) {
  return a <= b ? [a, b] : [b, a];
}

function perChart(points) {
  return CHARTS.flatMap(([title, names]) => {
    const known = names.filter((name) => points.some((point) => point[name] !== null && point[name] !== undefined));
    if (!known.length) return [];
    const lines = known.map((name) => ({ ...FIGURES[name], name, points }));
    return [{ title, meaning: lines.map((line) => line.meaning).join(" "), max: lines[0].max, lines }];
  });
}

function perFigure(series) {
  return CHARTS.flatMap(([, names]) => names).flatMap((name) => {
    const having = series.filter((each) => each.points.some((point) => point[name] !== null && point[name] !== undefined));
    if (!having.length) return [];
    const { label, meaning, max, digits } = FIGURES[name];
    const lines = having.map((each) => ({ name, label: each.name, digits, colour: SERIES_COLOURS[series.indexOf(each)], points: each.points }));
    return [{ title: label[0].toUpperCase() + label.slice(1), meaning, max, lines }];
  });
}
