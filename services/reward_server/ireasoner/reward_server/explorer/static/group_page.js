/** The page of one group, stored or pasted. */
import { clusterList } from "./clusters.js";
import { element } from "./element.js";
import { FIGURES } from "./figures.js";
import { heatMap } from "./heat_map.js";
import { image } from "./image.js";
import { decimal } from "./number.js";
import { stepWeight, sumRule } from "./reward_sum.js";
import { inOrder, rolloutList, sentList } from "./rollout_list.js";
import { knownConfig, scoringCard } from "./scoring.js";
import { neutralCosine } from "./step.js";
import { prose } from "./text.js";

const FACTS = ["reward", "outcome", "trajectory", "spread", "dominant_share", "entropy_nats", "proposer_reward", "correct_share"];

/** The sections of a group; `group` has the fields of `GET /ledger/groups/{id}`, those of the ledger being optional. */
export function groupPage(group, { presets, signal }) {
  const { scored, sent, labels } = group;
  const config = knownConfig(group);
  const weight = stepWeight(group);
  const rollouts = inOrder(scored, sent);
  const context = { group: scored, config, weight };
  return [
    element(
      "section",
      { class: `card question-card ${group.image ? "" : "without-picture"}` },
      group.image && image(group.image, { alt: "The image that the question is about", signal }),
      element(
        "div",
        { class: "question-side" },
        group.question ? prose(group.question, { class: "question" }, "h2") : element("p", { class: "muted" }, "The sender gave no question."),
        labels?.length > 0 && element("p", { class: "labels" }, element("span", { class: "muted" }, labels.length > 1 ? "labels " : "label "), labels.map((label, place) => [place > 0 && ", ", prose(label, {}, "b")]), element("span", { class: "muted" }, " (no reward depends on it)")),
        scored.hint && element("p", { class: "notice warn" }, prose(scored.hint, {}, "span")),
        clusterList(scored, labels),
        scored.not_compared?.length > 0 && element("details", {}, element("summary", {}, "Formulas that could not be compared"), element("ul", {}, scored.not_compared.map((each) => prose(each, {}, "li")))),
      ),
    ),
    factStrip(group),
    rollouts.length > 0 && [
      element("h2", {}, "Rollouts"),
      element("p", { class: "sentence" }, `${sumRule(group.endpoint, weight)}. A step is blue where it agrees with the dominant rollouts' steps (cosine above ${neutralCosine(config)}) and orange where it differs; its bar is its weight, and the number after it what it brought.`),
      element("section", { class: "card" }, rolloutList(rollouts, context)),
      element("h2", {}, "Step against step"),
      heatMap(rollouts, signal),
    ],
    !scored.rollouts && sent?.rollouts?.length > 0 && [
      element("h2", {}, "Rollouts"),
      element("p", { class: "sentence" }, "The reward is the Proposer's, for its question: it depends on how often each answer was given, and no rollout has a reward of its own."),
      element("section", { class: "card" }, sentList(sent.rollouts)),
    ],
    group.config && [element("h2", {}, "Scored with"), scoringCard(group, presets)],
  ];
}

function factStrip(group) {
  const known = FACTS.filter((name) => group[name] !== null && group[name] !== undefined);
  return element("dl", { class: "facts" }, known.map((name) => element("div", { title: FIGURES[name].meaning }, element("dt", {}, FIGURES[name].label), element("dd", {}, decimal(group[name], FIGURES[name].digits)))));
}
