/** The rollouts of a group, those with the dominant answer first. */
import { element, fill } from "./element.js";
import { decimal, many } from "./number.js";
import { broughtBySteps, rewardParts, rewardSum } from "./reward_sum.js";
import { stepList } from "./step.js";
import { prose, short } from "./text.js";

const SHOWN = 32;

/** The scored rollouts with what was sent of each, in the order that they are shown in; none of a Proposer's group. */
export function inOrder(scored, sent) {
  const texts = new Map((sent?.rollouts ?? []).map((rollout) => [rollout.id, rollout]));
  const ranks = new Map((scored.clusters ?? []).map((cluster, index) => [cluster.answer, index]));
  const rank = (rollout) => (rollout.status === "invalid" ? Infinity : ranks.get(rollout.answer) ?? 1e9);
  return (scored.rollouts ?? [])
    .map((rollout, index) => ({ ...rollout, index, sent: texts.get(rollout.id), rank: rank(rollout) }))
    .sort((a, b) => (a.rank === b.rank ? 0 : a.rank - b.rank) || a.index - b.index);
}

/** The list; a large group is shown in parts. `weight` is that of the trajectory reward. */
export function rolloutList(rollouts, { group, config, weight }) {
  const list = element("div", { class: "rollouts" });
  const draw = (shown) => {
    const rest = rollouts.length - shown;
    fill(
      list,
      rollouts.slice(0, shown).map((rollout) => rolloutRow(rollout, { group, config, weight })),
      rest > 0 && element("p", { class: "more" }, element("button", { type: "button", on: { click: () => draw(rollouts.length) } }, `Show ${many(rest, "more rollout")}`)),
    );
  };
  draw(Math.min(SHOWN, rollouts.length));
  return list;
}

/** The rollouts of a Proposer's group, which are not paid one by one, as they were sent. */
export function sentList(rollouts) {
  return element(
    "div",
    { class: "rollouts" },
    rollouts.map(({ id, text, steps, answer: given }) =>
      element(
        "article",
        { class: "rollout sent" },
        element("div", { class: "rollout-answer" }, given !== undefined && given !== null && prose(given, { class: "answer-text" }), element("small", {}, "rollout ", short(id, 24))),
        prose(text ?? (steps ?? []).join("\n"), { class: "raw" }),
      ),
    ),
  );
}

function rolloutRow(rollout, context) {
  const sum = rewardParts(rollout, context.weight);
  const brought = broughtBySteps(rollout, sum);
  const isDominant = rollout.answer !== null && rollout.answer === context.group.dominant_answer;
  return element(
    "article",
    { class: `rollout ${isDominant ? "dominant" : ""} ${rollout.status}`, "aria-label": `Rollout ${rollout.index + 1}, reward ${decimal(rollout.reward, 4)}` },
    element("div", { class: "rollout-answer" }, answer(rollout), element("small", {}, "rollout ", short(rollout.id, 24))),
    element("div", { class: "rollout-steps" }, rollout.steps?.length ? stepList(rollout.steps, { config: context.config, brought }) : element("p", { class: "muted" }, "no steps"), raw(rollout)),
    rewardSum(rollout, sum, context),
  );
}

function answer(rollout) {
  const shown = rollout.answer === null ? element("span", { class: "muted" }, "no answer") : prose(rollout.answer, { class: "answer-text" });
  if (rollout.status === "ok") return shown;
  return [shown, element("em", {}, rollout.status), element("small", {}, rollout.reason)];
}

function raw(rollout) {
  const { text, steps, answer: given, finish_reason: reason } = rollout.sent ?? {};
  if (text === undefined || text === null) return steps || given ? element("p", { class: "meta" }, "sent as answer and steps") : null;
  const holder = element("details", {}, element("summary", {}, "as sent", reason && ` · ended by ${reason}`));
  holder.addEventListener("toggle", () => holder.append(prose(text, { class: "raw" })), { once: true });
  return holder;
}
