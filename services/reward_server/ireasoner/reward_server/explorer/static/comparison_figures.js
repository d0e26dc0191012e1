/** How far two scorings of one group differ. */

/** Number of pairs of rollouts whose order the second scoring turns round. */
export function rankFlips(before, after) {
  let flips = 0;
  for (let i = 0; i < before.length; i += 1) {
    for (let j = 0; j < i; j += 1) {
      if ([before[i], before[j], after[i], after[j]].includes(null)) continue;
      if ((before[i] - before[j]) * (after[i] - after[j]) < 0) flips += 1;
    }
  }
  return flips;
}

/** Number of rewards that differ by more than rounding. */
export function changedRewards(before, after) {
  return before.filter((reward, index) => isChanged(reward, after[index])).length;
}

/** Whether two rewards differ by more than rounding; one that is missing differs from one that is not. */
export function isChanged(a, b) {
  return a === null || b === null ? a !== b : Math.abs(a - b) > 1e-9;
}

/** The rank of each reward, 1 being the largest; equal rewards share a rank. */
export function ranks(rewards) {
  return rewards.map((reward) => (reward === null ? null : 1 + rewards.filter((each) => each !== null && each > reward + 1e-9).length));
}
