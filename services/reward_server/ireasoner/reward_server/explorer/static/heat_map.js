/** Step against step across the rollouts of a group, by cosine. */
import { post } from "./api.js";
import { element, fill } from "./element.js";
import { NONE, decimal } from "./number.js";
import { short } from "./text.js";

const MAX_STEPS = 512;
const MAX_STEP_CHARACTERS = 20_000;
const MAX_PX = 560;
const BAND_PX = 6;

/** The heat map of rollouts in the order shown; it loads when it comes into sight. */
export function heatMap(rollouts, signal) {
  const steps = rollouts.flatMap((rollout, place) => (rollout.steps ?? []).map((step, index) => ({ text: bounded(step.text), index, rollout, place })));
  const shown = firstOf(steps);
  const holder = element("section", { class: "card heat-map" });
  if (shown.length < 2) return fill(holder, element("p", { class: "muted" }, "There are too few steps to compare."));
  fill(holder, element("p", { class: "muted" }, "Comparing the steps…"));
  const seen = new IntersectionObserver((entries) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    seen.disconnect();
    load(holder, shown, steps.length, signal);
  });
  seen.observe(holder);
  signal.addEventListener("abort", () => seen.disconnect());
  return holder;
}

/** The first steps whose distinct texts the server compares in one request. */
function firstOf(steps) {
  const distinct = new Set();
  const end = steps.findIndex((step) => distinct.add(step.text).size > MAX_STEPS);
  return steps.slice(0, end < 0 ? MAX_STEPS : Math.min(end, MAX_STEPS));
}

/** A step's text within what the server takes; the embedder reads less. */
function bounded(text) {
  return text.length > MAX_STEP_CHARACTERS ? text.slice(0, MAX_STEP_CHARACTERS).replace(/[\ud800-\udbff]$/, "") : text;
}

async function load(holder, steps, total, signal) {
  const texts = [...new Set(steps.map((step) => step.text))];
  try {
    const { cosines, embedder } = await post("ledger/cosines", { steps: texts }, signal);
    const row = new Map(texts.map((text, index) => [text, index]));
    const rows = steps.map((step) => row.get(step.text));
    new HeatMap(holder, steps, (a, b) => cosines[rows[a]][rows[b]], { embedder, total, signal });
  } catch (error) {
    if (!signal.aborted) fill(holder, element("p", { class: "muted", role: "alert" }, `The steps could not be compared: ${error.message}`));
  }
}

class HeatMap {
  constructor(holder, steps, cosine, { embedder, total, signal }) {
    Object.assign(this, { steps, cosine });
    this.cell = Math.max(1, Math.min(26, Math.floor((Math.min(MAX_PX, holder.clientWidth - 42) - BAND_PX) / steps.length)));
    this.size = BAND_PX + this.cell * steps.length;
    this.cursor = null;
    this.canvas = element("canvas", {
      tabindex: 0,
      role: "img",
      "aria-label": `Heat map of ${steps.length} steps against each other. Arrow keys move through it.`,
      on: { pointermove: (event) => this.onMove(event), pointerleave: () => this.point(null), keydown: (event) => this.onKey(event) },
    });
    const ratio = devicePixelRatio || 1;
    this.canvas.width = this.canvas.height = this.size * ratio;
    this.canvas.style.setProperty("width", `${this.size}px`);
    this.canvas.style.setProperty("height", `${this.size}px`);
    this.context = this.canvas.getContext("2d");
    this.context.scale(ratio, ratio);
    this.readout = element("div", { class: "heat-readout", "aria-live": "polite" });
    const left = total > steps.length ? ` The first ${steps.length} of ${total} steps are shown.` : "";
    const note = element("p", { class: "meta" }, `Cosines of the embedder ${embedder.slice(0, 16)}, not centred. Rollouts are in the order above, with a line between them; blue bands mark the dominant answer.${left}`);
    fill(holder, element("div", { class: "heat-plot" }, this.canvas), element("div", { class: "heat-side" }, this.readout, scale(), note));
    const scheme = matchMedia("(prefers-color-scheme: dark)");
    scheme.addEventListener("change", () => this.draw(), { signal });
    this.point(null);
  }

  point(cursor) {
    this.cursor = cursor;
    this.draw();
    if (!cursor) return fill(this.readout, element("p", { class: "muted" }, "Point at a cell to read both steps."));
    const [a, b] = cursor;
    return fill(this.readout, element("p", {}, element("b", { class: "big" }, decimal(this.cosine(a, b), 3)), " cosine"), this.described(a), this.described(b));
  }

  described(index) {
    const { text, rollout, index: place } = this.steps[index];
    return element("p", {}, element("small", {}, "rollout ", short(rollout.id, 20), `, step ${place + 1}, answer `, rollout.answer === null ? NONE : short(rollout.answer, 24)), element("span", { class: "heat-step", dir: "auto" }, short(text, 400)));
  }

  onMove(event) {
    const box = this.canvas.getBoundingClientRect();
    const place = (pixels) => Math.floor((pixels - BAND_PX) / this.cell);
    const [a, b] = [place(event.clientY - box.top), place(event.clientX - box.left)];
    const isInside = Math.min(a, b) >= 0 && Math.max(a, b) < this.steps.length;
    if (String(this.cursor) !== String(isInside ? [a, b] : null)) this.point(isInside ? [a, b] : null);
  }

  onKey(event) {
    const moves = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    if (!(event.key in moves)) return;
    event.preventDefault();
    const [down, right] = moves[event.key];
    const within = (place) => Math.min(Math.max(place, 0), this.steps.length - 1);
    this.point(this.cursor ? [within(this.cursor[0] + down), within(this.cursor[1] + right)] : [0, 0]);
  }

  draw() {
    const { context, cell, size, steps } = this;
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(name).trim();
    const [agree, differ, ink, line, dominant] = ["--agree", "--differ", "--ink", "--card", "--blue"].map(colour);
    context.clearRect(0, 0, size, size);
    for (let a = 0; a < steps.length; a += 1) {
      for (let b = 0; b < steps.length; b += 1) {
        const value = this.cosine(a, b);
        if (value === null) continue;
        context.globalAlpha = Math.min(1, Math.abs(value)) ** 2.2;
        context.fillStyle = value < 0 ? differ : agree;
        context.fillRect(BAND_PX + b * cell, BAND_PX + a * cell, cell, cell);
      }
    }
    context.globalAlpha = 1;
    steps.forEach((step, index) => this.border(step, index, { line, dominant, ink }));
    if (!this.cursor) return;
    context.strokeStyle = ink;
    context.lineWidth = 1.5;
    const [a, b] = this.cursor;
    context.strokeRect(BAND_PX + b * cell, BAND_PX + a * cell, cell, cell);
  }

  border(step, index, { line, dominant, ink }) {
    const { context, cell, size } = this;
    const at = BAND_PX + index * cell;
    context.fillStyle = step.rollout.rank === 0 ? dominant : ink;
    context.globalAlpha = step.rollout.rank === 0 ? 1 : step.rollout.rank % 2 ? 0.28 : 0.14;
    context.fillRect(0, at, BAND_PX - 2, cell);
    context.fillRect(at, 0, cell, BAND_PX - 2);
    context.globalAlpha = 1;
    if (index === 0 || this.steps[index - 1].place === step.place) return;
    const width = this.steps[index - 1].rollout.rank === step.rollout.rank ? 1 : 3;
    context.fillStyle = line;
    context.fillRect(0, at - width / 2, size, width);
    context.fillRect(at - width / 2, 0, width, size);
  }
}

function scale() {
  return element("div", { class: "scale", "aria-hidden": "true" }, "−1", element("i"), "1");
}
