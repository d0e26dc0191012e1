/** A small line without axes, for a table. */
import { shape } from "./element.js";
import { decimal } from "./number.js";

const WIDTH = 120;
const HEIGHT = 30;
const EDGE = 3;

/** The values of a figure over time, oldest first. */
export function sparkline(values, { label, colour, max = null }) {
  const top = Math.max(max ?? 0, ...values, 1e-9);
  const x = (index) => EDGE + (index * (WIDTH - 2 * EDGE)) / Math.max(values.length - 1, 1);
  const y = (value) => HEIGHT - EDGE - (value * (HEIGHT - 2 * EDGE)) / top;
  const last = values.length - 1;
  const said = values.length ? `${label}: from ${decimal(values[0])} to ${decimal(values[last])}` : `${label}: unknown`;
  return shape(
    "svg",
    { class: `sparkline ink-${colour}`, viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": said },
    shape("title", {}, said),
    shape("path", { class: "line", d: path(values, x, y) }),
    last >= 0 && shape("circle", { class: "last", cx: x(last), cy: y(values[last]), r: 2.4 }),
  );
}

/** An SVG path through values at x(index), y(value); one alone is a dot. */
export function path(values, x, y) {
  const places = values.map((value, index) => `${x(index).toFixed(1)} ${y(value).toFixed(1)}`);
  return places.length === 1 ? `M${places[0]}h0.01` : places.map((place, index) => `${index ? "L" : "M"}${place}`).join("");
}
