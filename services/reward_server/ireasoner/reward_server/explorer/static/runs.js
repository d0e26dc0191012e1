/** The view of all runs, by experiment. */
import { element, fill } from "./element.js";
import { throttled } from "./events.js";
import { FIGURES } from "./figures.js";
import { emptyLedger, ledgerNotices, readRuns } from "./ledger_state.js";
import { NONE, ago, count, decimal, many, size } from "./number.js";
import { address } from "./route.js";
import { experimentName, runName } from "./run_name.js";
import { sparkline } from "./sparkline.js";
import { short } from "./text.js";

const SPARKS = ["reward", "entropy_nats", "dominant_share"];
const REFRESH_MS = 2000;
const AGES_MS = 15_000;

/** Shows the ledger and its runs. */
export async function show(_route, { signal, follow }) {
  const body = element("div", { class: "runs" });
  const draw = (answer) => {
    const kept = document.activeElement?.dataset?.item;
    fill(body, content(answer));
    if (kept) [...body.querySelectorAll("[data-item]")].find((item) => item.dataset.item === kept)?.focus();
  };
  let answer = await readRuns(signal);
  draw(answer);
  const refresh = throttled(
    async () => {
      answer = await readRuns(signal).catch(() => answer);
      if (!signal.aborted) draw(answer);
    },
    REFRESH_MS,
    signal,
  );
  follow("", refresh, answer.ledger);
  const ages = setInterval(() => draw(answer), AGES_MS);
  signal.addEventListener("abort", () => clearInterval(ages));
  return { title: "Experiments", element: element("div", {}, element("h1", {}, "Experiments"), body) };
}

function content({ ledger, runs }) {
  if (!runs.length) return [ledgerNotices(ledger), emptyLedger(ledger)];
  const experiments = Map.groupBy ? Map.groupBy(runs, (run) => run.experiment) : grouped(runs);
  return [ledgerNotices(ledger), facts(ledger, runs), [...experiments].map(([name, own]) => experiment(name, own))];
}

function grouped(runs) {
  const found = new Map();
  for (const run of runs) found.set(run.experiment, [...(found.get(run.experiment) ?? []), run]);
  return found;
}

function facts(ledger, runs) {
  const full = ledger.max_bytes ? ledger.bytes / ledger.max_bytes : 0;
  const dropped = Object.values(ledger.dropped ?? {}).reduce((sum, each) => sum + each, 0);
  return element(
    "dl",
    { class: "facts" },
    fact("runs", count(runs.length)),
    fact("groups", count(ledger.groups), many(ledger.rollouts, "rollout")),
    ledger.bytes !== null && fact("size", size(ledger.bytes), ledger.max_bytes ? `${decimal(100 * full, full < 0.1 ? 1 : 0)}% of ${size(ledger.max_bytes)}` : null),
    fact("evicted", count(ledger.evicted_groups), ledger.evicted_groups ? "oldest updates of the whole ledger" : "nothing had to go"),
    (ledger.is_recording || ledger.problem) && fact("not recorded", count(dropped), dropped ? reasons(ledger.dropped) : ledger.is_recording ? "every group was kept" : "the server records nothing now"),
  );
}

function reasons(dropped) {
  return Object.entries(dropped)
    .filter(([, groups]) => groups > 0)
    .map(([reason, groups]) => `${reason.replaceAll("_", " ")} ${count(groups)}`)
    .join(", ");
}

function fact(name, value, more = null) {
  return element("div", {}, element("dt", {}, name), element("dd", {}, value, more && element("span", { class: "note" }, more)));
}

function experiment(name, runs) {
  return element(
    "section",
    { class: "card experiment" },
    element("h2", {}, experimentName(name), " ", element("small", {}, many(runs.length, "run"))),
    element(
      "div",
      { class: "run head", "aria-hidden": "true" },
      ["run", "groups", "words", "a minute", ...SPARKS.map(lastOf)].map((label) => element("span", {}, label)),
    ),
    runs.map(row),
  );
}

function row(run) {
  const seen = [`${ago(run.last_s)}`, run.last_update !== null && `update ${count(run.last_update)}`].filter(Boolean).join(" · ");
  return element(
    "a",
    { class: "run", href: address("run", run.id), "data-item": run.id },
    element("span", { class: "run-name" }, element("b", {}, short(runName(run), 80)), element("small", {}, seen, run.evicted_groups > 0 && ` · ${count(run.evicted_groups)} evicted`)),
    cell("groups", count(run.groups), many(run.rollouts, "rollout")),
    cell("words", count(run.words)),
    cell("groups a minute", run.groups_per_minute === null ? NONE : count(run.groups_per_minute)),
    SPARKS.map((figure) => spark(run, figure)),
  );
}

function cell(label, value, more = null) {
  return element("span", { class: "cell", "data-label": label }, value, more && element("small", {}, more));
}

function spark(run, figure) {
  const values = run[figure];
  const { label, colour, max } = FIGURES[figure];
  return element("span", { class: "cell spark", "data-label": lastOf(figure) }, sparkline(values, { label, colour, max }), element("b", {}, decimal(values.at(-1))));
}

/** The label of a figure's last value: that of the last update or minute that has it, as on the timeline. */
function lastOf(figure) {
  return `last ${FIGURES[figure].label}`;
}
