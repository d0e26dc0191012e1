/** A small line without axes, for a table. */
import { shape } from "./element.js";
import { decimal } from "./number.js";

const WIDTH = 120;
const HEIGHT = 30;
const EDGE = 3;

/** The values of a figure over time, oldest first; null leaves a gap. */
export function sparkline(values, { label, colour, max = null }) {
  const known = values.filter((value) => value !== null);
  const top = Math.max(max ?? 0, ...known, 1e-9);
  const x = (index) => EDGE + (index * (WIDTH - 2 * EDGE)) / Math.max(values.length - 1, 1);
  const y = (value) => HEIGHT - EDGE - (value * (HEIGHT - 2 * EDGE)) / top;
  const last = known.length ? values.lastIndexOf(known.at(-1)) : -1;
  const said = known.length ? `${label}: from ${decimal(known[0])} to ${decimal(known.at(-1))}` : `${label}: unknown`;
  return shape(
    "svg",
    { class: `sparkline ink-${colour}`, viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": said },
    shape("title", {}, said),
    shape("path", { class: "line", d: path(values, x, y) }),
    last >= 0 && shape("circle", { class: "last", cx: x(last), cy: y(values[last]), r: 2.4 }),
  );
}

/** An SVG path through values at x(index), y(value), with gaps where a value is null. */
export function path(values, x, y) {
  let written = "";
  let isOn = false;
  values.forEach((value, index) => {
    if (value !== null && value !== undefined) {
      written += `${isOn ? "L" : "M"}${x(index).toFixed(1)} ${y(value).toFixed(1)}`;
      const isAlone = !isOn && (values[index + 1] === null || values[index + 1] === undefined);
      if (isAlone) written += "h0.01";
    }
    isOn = value !== null && value !== undefined;
  });
  return written;
}
