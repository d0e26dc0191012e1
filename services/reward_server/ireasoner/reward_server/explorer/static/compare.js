/** The view of comparisons: stored ones, one group under two configs, or two runs over each other. */
import { get } from "./api.js";
import { groupUnderTwo } from "./compare_group.js";
import { runsOver } from "./compare_runs.js";
import { storedComparison } from "./compare_stored.js";
import { summaryLine } from "./comparison_summary.js";
import { element } from "./element.js";
import { readRuns } from "./ledger_state.js";
import { ago, count, many } from "./number.js";
import { address, go } from "./route.js";
import { fullName } from "./run_name.js";
import { short } from "./text.js";

/** Shows what the address asks for: an id is a stored comparison, `group` one group, `runs` two runs; else what there is. */
export async function show({ id, query }, context) {
  if (id) return storedComparison(id, query, context);
  if (query.get("group")) return groupUnderTwo(query, context);
  if (query.get("runs")) return runsOver(query, context);
  return overview(context);
}

async function overview({ signal }) {
  const [{ comparisons }, { runs }] = await Promise.all([stored(signal), readRuns(signal)]);
  return {
    title: "Compare",
    up: "#/runs",
    element: element(
      "div",
      {},
      element("h1", {}, "Compare"),
      element("h2", {}, "The same groups under two configs"),
      element("p", { class: "sentence" }, "For one group, open it under ", element("a", { href: "#/groups" }, "Groups"), " and press c."),
      comparisons.length ? element("div", { class: "comparisons" }, comparisons.map(card)) : none(),
      element("h2", {}, "Two runs over each other"),
      runs.length > 1 ? pairForm(runs) : element("p", { class: "muted" }, "This needs two runs in the ledger."),
    ),
  };
}

/** The stored comparisons; none where the server stores none. */
async function stored(signal) {
  try {
    return await get("ledger/comparisons", undefined, signal);
  } catch (error) {
    if (error.status === 404) return { comparisons: [] };
    throw error;
  }
}

function none() {
  return element(
    "section",
    { class: "card empty-state" },
    element("p", {}, "Nothing has been scored anew yet. This scores every stored group under another config, and shows up here:"),
    element("pre", {}, "ireasoner rescore --ledger FOLDER \\\n  --config robust --against paper"),
  );
}

function card(comparison) {
  const isDone = comparison.done >= comparison.groups;
  return element(
    "a",
    { class: "card comparison", href: address("compare", comparison.name), "data-item": comparison.name },
    element("h3", {}, short(comparison.name, 60)),
    element("p", { class: "muted" }, short(comparison.against ?? "as recorded", 40), " → ", short(comparison.config, 40), ` · ${ago(comparison.created_s)}`),
    element("p", {}, isDone ? many(comparison.groups, "group") : `${count(comparison.done)} of ${count(comparison.groups)} groups`),
    summaryLine(comparison.summary),
  );
}

function pairForm(runs) {
  const choice = (label, chosen) => element("select", { "aria-label": label }, runs.map((run, index) => element("option", { value: run.id, selected: index === chosen }, fullName(run).slice(0, 60))));
  const alike = runs.findIndex((run, index) => index > 0 && (run.last_update === null) === (runs[0].last_update === null));
  const [first, second] = [choice("First run", 0), choice("Second run", Math.max(alike, 1))];
  const open = (event) => {
    event.preventDefault();
    go(address("compare", "", { runs: `${first.value},${second.value}` }));
  };
  return element("form", { class: "card toolbar", on: { submit: open } }, first, element("span", { class: "muted" }, "and"), second, element("button", { type: "submit", class: "primary" }, "Compare"));
}
