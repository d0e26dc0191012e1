/** A rollout's reward as a sum of its parts. The numbers are rounded so that they add up as they stand on the page. */
import { element } from "./element.js";
import { apportioned, decimal } from "./number.js";
import { creditOf } from "./step.js";

const DIGITS = 4;
const EQUAL = 5e-4;

/** The weight of the trajectory reward in the reward: lambda for the Solver, else all or nothing; null if it is unknown. */
export function stepWeight({ endpoint, step_weight: known }) {
  if (endpoint === "outcome") return 0;
  if (endpoint === "trajectory") return 1;
  return known ?? null;
}

/** The parts of a reward: `{name, value, weight, part}`, which add up to `total`; null if the parts are unknown. */
export function rewardParts(rollout, weight) {
  if (rollout.reward === null || weight === null) return null;
  const parts = [
    { name: "outcome", value: rollout.outcome, weight: 1 - weight },
    { name: "trajectory", value: rollout.trajectory, weight },
  ].filter((each) => each.value !== null && each.value !== undefined);
  const rounded = parts.map((each) => rounding(each.weight * each.value));
  const rest = rounded.slice(0, -1).reduce((sum, each) => sum + each, 0);
  rounded[rounded.length - 1] = rounding(rounding(rollout.reward) - rest);
  return { total: rollout.reward, parts: parts.map((each, index) => ({ ...each, part: rounded[index] })) };
}

function rounding(value) {
  return Math.round(value * 10 ** DIGITS) / 10 ** DIGITS;
}

/** What each step brought to the reward: lambda times trajectory, shared out by weight times credit. */
export function broughtBySteps(rollout, sum) {
  const trajectory = sum?.parts.find((each) => each.name === "trajectory");
  const earned = (rollout.steps ?? []).map((step) => (step.cosine === null ? 0 : step.weight * creditOf(step)));
  const all = earned.reduce((total, each) => total + each, 0);
  if (!trajectory?.part || all <= 0) return null;
  const brought = apportioned(earned.map((each) => (each / all) * trajectory.part), trajectory.part, DIGITS);
  return brought.map((each, index) => (rollout.steps[index].cosine === null ? null : each));
}

/** The sum as a small table, with how each part came about. */
export function rewardSum(rollout, sum, { config, group }) {
  if (rollout.reward === null) return element("p", { class: "sum-none" }, `no reward: ${whyNone(rollout)}`);
  if (!sum) return element("table", { class: "sum" }, element("tbody", {}, totalRow(rollout.reward, null)));
  const rows = sum.parts.map((each) =>
    element(
      "tr",
      { class: each.part ? each.name : `${each.name} nothing` },
      element("th", { scope: "row" }, element("i", { class: "dot" }), each.name, explanation(each, rollout, { config, group })),
      element("td", { class: "n product" }, `${decimal(each.value, DIGITS)} × ${decimal(each.weight, DIGITS)}`),
      element("td", { class: "n part", "data-part": each.name }, decimal(each.part, DIGITS)),
    ),
  );
  return element("table", { class: "sum" }, element("tbody", {}, rows, totalRow(rollout.reward, sum)));
}

function whyNone(rollout) {
  return rollout.rewarded === false ? "it only votes" : "the server could not judge it";
}

function totalRow(reward, sum) {
  return element(
    "tr",
    { class: "total" },
    element("th", { scope: "row" }, "reward"),
    element("td", { class: "n" }, sum ? bar(sum) : null),
    element("td", { class: "n", "data-part": "reward", title: `exactly ${reward}` }, decimal(reward, DIGITS)),
  );
}

function bar(sum) {
  return element("span", { class: "stack", "aria-hidden": "true" }, sum.parts.map((each) => element("i", { class: each.name, vars: { "--part": Math.max(0, Math.min(1, each.part)).toFixed(4) } })));
}

function explanation(part, rollout, context) {
  if (!context.config || !part.value) return null;
  const said = part.name === "outcome" ? outcomeOf(rollout, context) : trajectoryOf(rollout, context);
  return said && element("small", {}, said);
}

/** The share of the group to the power of alpha, and what length and copies took. */
function outcomeOf(rollout, { config, group }) {
  const cluster = group.clusters?.find((each) => each.answer === rollout.answer);
  if (!cluster || !group.rollouts.length) return null;
  const base = (cluster.count / group.rollouts.length) ** config.alpha;
  const rest = rollout.outcome / base;
  const share = `(${cluster.count}/${group.rollouts.length})^${+config.alpha.toFixed(3)}`;
  if (Math.abs(rest - 1) < EQUAL) return share;
  const why = [config.distinct_exponent > 0 && "copies", config.eta > 0 && "length"].filter(Boolean).join(", ");
  return `${share} × ${decimal(rest)}${why && ` (${why})`}`;
}

/** The density of the group times the mean credit of the steps, and what missing steps, few steps and ties took. */
function trajectoryOf(rollout, { config, group }) {
  const compared = (rollout.steps ?? []).filter((step) => step.cosine !== null);
  const weights = compared.reduce((sum, step) => sum + step.weight, 0);
  if (!weights || !group.density) return null;
  const agreement = compared.reduce((sum, step) => sum + step.weight * creditOf(step), 0) / weights;
  const rest = rollout.trajectory / (agreement * group.density);
  const said = `density ${decimal(group.density)} × credit ${decimal(agreement)}`;
  if (!Number.isFinite(rest) || Math.abs(rest - 1) < EQUAL) return said;
  const why = [config.coverage === "union" && "steps not shared", config.min_steps > 0 && "few steps", config.ties === "shared" && group.tie && "a tie"].filter(Boolean).join(", ");
  return `${said} × ${decimal(rest)}${why && ` (${why})`}`;
}

/** The rule of the sum, in words. */
export function sumRule(endpoint, weight) {
  if (endpoint === "outcome") return "The reward is the outcome reward";
  if (endpoint === "trajectory") return "The reward is the trajectory reward";
  return weight === null ? "The weight of the steps is not known" : `reward = (1 − λ) × outcome + λ × trajectory, with λ = ${decimal(weight, DIGITS)}`;
}
