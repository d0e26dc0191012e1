/** How far two scorings of one group differ, as `ireasoner rescore` counts it. */

/** Rewards that differ by less count as equal: the last bits of an embedding depend on the texts beside it. */
const MIN_CHANGE = 1e-4;

/** Number of pairs of rollouts whose order the second scoring turns round. */
export function rankFlips(before, after) {
  let flips = 0;
  for (let i = 0; i < before.length; i += 1) {
    for (let j = 0; j < i; j += 1) {
      if ([before[i], before[j], after[i], after[j]].includes(null)) continue;
      if (order(before[i], before[j]) * order(after[i], after[j]) < 0) flips += 1;
    }
  }
  return flips;
}

/** 1 if the first reward is ahead, -1 if the second is, 0 if they are equal. */
function order(a, b) {
  return isChanged(a, b) ? Math.sign(a - b) : 0;
}

/** Number of rewards that differ. */
export function changedRewards(before, after) {
  return before.filter((reward, index) => isChanged(reward, after[index])).length;
}

/** Whether two rewards differ; one that is missing differs from one that is not. */
export function isChanged(a, b) {
  return a === null || b === null ? a !== b : Math.abs(a - b) > MIN_CHANGE;
}

/** The rank of each reward, 1 being the largest; equal rewards share a rank. */
export function ranks(rewards) {
  return rewards.map((reward) => (reward === null ? null : 1 + rewards.filter((each) => each !== null && each > reward + MIN_CHANGE).length));
}
