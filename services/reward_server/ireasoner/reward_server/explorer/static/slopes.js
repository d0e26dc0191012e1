/** A small picture of rewards before and after: one line per rollout. */
import { shape } from "./element.js";

const WIDTH = 72;
const HEIGHT = 36;
const EDGE = 4;

/** Rewards from 0 (bottom) to 1 (top), before at the left and after at the right. */
export function slopes(before, after) {
  const y = (reward) => HEIGHT - EDGE - Math.min(Math.max(reward, 0), 1) * (HEIGHT - 2 * EDGE);
  const lines = before.flatMap((reward, index) => {
    const other = after[index];
    if (reward === null || other === null || other === undefined) return [];
    const tone = other > reward + 1e-9 ? "up" : other < reward - 1e-9 ? "down" : "same";
    return [shape("line", { class: tone, x1: EDGE, x2: WIDTH - EDGE, y1: y(reward), y2: y(other) })];
  });
  return shape("svg", { class: "slopes", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": `${lines.length} rewards before and after` }, lines);
}
