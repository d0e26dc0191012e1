/** A step of a rollout: its cosine as a colour, its weight as a bar, and what it added to the reward. */
import { element } from "./element.js";
import { NONE, decimal, signed } from "./number.js";
import { prose } from "./text.js";

const NEUTRAL = 0.7;
const NEUTRAL_CENTRED = 0.4;
const REACH = 0.3;

/** The steps of a rollout; `brought[i]` is the part of the reward that step i brought, and null if that is unknown. */
export function stepList(steps, { config, brought }) {
  return element("ol", { class: "steps" }, steps.map((step, index) => stepItem(step, config, brought?.[index] ?? null)));
}

function stepItem(step, config, brought) {
  return element(
    "li",
    {},
    cosineChip(step, config),
    prose(step.text, { class: "step-text" }),
    brought !== null && element("span", { class: "brought", title: "What the step brought to the reward." }, signed(brought, 4)),
  );
}

function cosineChip(step, config) {
  if (step.cosine === null) return element("span", { class: "cosine none", title: "Not compared: only steps of rollouts with a dominant answer are, where enough of these have one." }, NONE);
  const parts = [`cosine ${decimal(step.cosine, 4)}`, `weight ${decimal(step.weight, 4)}`, `credit ${decimal(creditOf(step), 4)}`];
  if (step.place !== undefined) parts.push(step.place === null ? "no slot" : `slot ${step.place + 1}`);
  return element(
    "span",
    { class: `cosine ${tone(step.cosine, config)}`, title: parts.join(" · "), vars: { "--strength": strength(step.cosine, config), "--weight": Math.min(Math.max(step.weight, 0), 1).toFixed(3) } },
    decimal(step.cosine, 2),
  );
}

/** What a compared step earned, 0 to 1. */
export function creditOf(step) {
  return step.credit ?? (step.cosine === null ? 0 : (1 + step.cosine) / 2);
}

/** The cosine at which the colour changes from orange to blue; centred embeddings agree less. */
export function neutralCosine(config) {
  return config?.centring === "group" ? NEUTRAL_CENTRED : NEUTRAL;
}

function tone(cosine, config) {
  return cosine >= neutralCosine(config) ? "agree" : "differ";
}

function strength(cosine, config) {
  return `${(8 + 60 * Math.min(Math.abs(cosine - neutralCosine(config)) / REACH, 1)).toFixed(0)}%`;
}
