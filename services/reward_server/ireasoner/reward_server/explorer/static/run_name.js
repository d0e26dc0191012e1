/** What runs are called: an experiment is the token's, a source is what the sender calls itself. */

/** The name of an experiment. */
export function experimentName(experiment) {
  return experiment === "-" ? "without a token" : experiment;
}

/** The name of a run within its experiment. */
export function runName(run) {
  return run.source === "-" ? "without a source" : run.source;
}

/** Both names. */
export function fullName(run) {
  return run.experiment === "-" ? runName(run) : `${experimentName(run.experiment)} / ${runName(run)}`;
}
