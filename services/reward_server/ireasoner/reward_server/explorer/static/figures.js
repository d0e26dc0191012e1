/** Every figure that the page shows: its name in the API, its label, and what it means. */

export const FIGURES = {
  reward: { label: "reward", meaning: "Mean reward of the rollouts.", colour: "blue" },
  outcome: { label: "outcome", meaning: "Mean outcome reward: the share of the group that gave the same answer, less a length penalty.", colour: "orange" },
  trajectory: { label: "trajectory", meaning: "Mean trajectory reward: agreement with the steps of the dominant rollouts.", colour: "teal" },
  excess: { label: "excess", meaning: "Reward less outcome: what the steps added or took." },
  spread: { label: "spread", meaning: "Largest less smallest reward of the group. Without spread, a group-relative method learns nothing." },
  dominant_share: { label: "dominant share", meaning: "Share of the rollouts that gave the dominant answer.", colour: "purple", max: 1 },
  entropy_nats: { label: "entropy", meaning: "Entropy of the answers, in nats; 0 if all agree.", colour: "orange" },
  proposer_reward: { label: "Proposer reward", meaning: "The Proposer's reward for the question, highest at a target entropy.", colour: "purple", max: 1 },
  words: { label: "words", meaning: "Mean number of words per rollout.", colour: "grey", digits: 1 },
  steps: { label: "steps", meaning: "Mean number of steps per rollout.", colour: "teal", digits: 1 },
  correct_share: { label: "correct", meaning: "Share of the rollouts whose answer is one of the labels.", colour: "teal", max: 1 },
  flat_share: { label: "without spread", meaning: "Share of the groups in which every rollout has the same reward.", colour: "red", max: 1 },
  tie_share: { label: "ties", meaning: "Share of the groups in which several answers tie.", colour: "grey", max: 1 },
  abstained_share: { label: "abstained", meaning: "Share of the rollouts that the server could not judge.", colour: "red", max: 1 },
  invalid_share: { label: "invalid", meaning: "Share of the rollouts without a usable answer.", colour: "orange", max: 1 },
  flip_share: { label: "flips", meaning: "Share of the groups whose dominant answer differs from that of the question's previous group.", colour: "red", max: 1 },
};

/** The marks of a group that one can filter by, with the test of a summary for each. */
export const FLAGS = {
  tie: { label: "tie", meaning: "Several answers tie for the dominant one.", holds: (group) => Boolean(group.tie) },
  flat: { label: "no spread", meaning: "Every rollout has the same reward.", holds: (group) => group.spread === 0 },
  flipped: { label: "flipped", meaning: "The dominant answer differs from that of the question's previous group.", holds: (group) => Boolean(group.flipped) },
  abstained: { label: "abstained", meaning: "At least one rollout could not be judged.", holds: (group) => group.abstained > 0 },
  invalid: { label: "invalid", meaning: "At least one rollout has no usable answer.", holds: (group) => group.invalid > 0 },
  right: { label: "right", meaning: "The dominant answer is one of the labels.", holds: (group) => group.correct === true || group.correct === 1 },
  wrong: { label: "wrong", meaning: "The dominant answer is none of the labels.", holds: (group) => group.correct === false || group.correct === 0 },
};
