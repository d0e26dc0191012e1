/** What runs and groups are called: an experiment is the token's, a source is what the sender calls itself. */

/** The name of an experiment. */
export function experimentName(experiment) {
  return experiment === "-" ? "without a token" : experiment;
}

/** The name of a run within its experiment. */
export function runName(run) {
  return run.source === "-" ? "without a source" : run.source;
}

const RANDOM = /^[0-9a-f]{8}(-?)[0-9a-f]{4}\1[0-9a-f]{4}\1[0-9a-f]{4}\1[0-9a-f]{12}(?![0-9a-f])/i;

/** The name that the sender gave a group; its id in the ledger if that name is a random number. */
export function groupName(group) {
  return RANDOM.test(group.name) ? group.id : group.name;
}

/** Both names. */
export function fullName(run) {
  return run.experiment === "-" ? runName(run) : `${experimentName(run.experiment)} / ${runName(run)}`;
}
