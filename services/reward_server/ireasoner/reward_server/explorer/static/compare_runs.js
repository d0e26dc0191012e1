/** The timelines of two runs over each other. */
import { get } from "./api.js";
import { element } from "./element.js";
import { throttled } from "./events.js";
import { readRuns } from "./ledger_state.js";
import { many } from "./number.js";
import { address } from "./route.js";
import { fullName } from "./run_name.js";
import { short } from "./text.js";
import { Timeline } from "./timeline.js";

const REFRESH_MS = 2000;

/** Shows the runs that `runs` names, two ids with a comma between them. */
export async function runsOver(query, { signal, follow }) {
  const ids = query.get("runs").split(",").slice(0, 2);
  const { ledger, runs } = await readRuns(signal);
  const chosen = ids.map((id) => runs.find((run) => run.id === id) ?? { id, experiment: "-", source: id, groups: 0, endpoint: "" });
  const asked = (run) => new URLSearchParams({ points: "400", ...(run.endpoint && { endpoint: run.endpoint }) });
  const ask = () => Promise.all(chosen.map((run) => get(`ledger/runs/${encodeURIComponent(run.id)}/timeline`, asked(run), signal)));
  let answers = await ask();
  const timeline = new Timeline({ unit: answers[0].unit, onSelect: () => {} });
  const draw = () => timeline.show(answers.map((answer, index) => ({ name: nameOf(chosen, index), points: answer.points })));
  const refresh = throttled(
    async () => {
      answers = await ask().catch(() => answers);
      if (!signal.aborted) draw();
    },
    REFRESH_MS,
    signal,
  );
  follow("", (event) => (event.isCatchUp || ids.includes(event.run)) && refresh(), ledger);
  const units = new Set(answers.map((answer) => answer.unit));
  return {
    title: "Two runs",
    up: "#/compare",
    onShown: draw,
    element: element(
      "div",
      {},
      element("p", { class: "kicker" }, element("a", { href: "#/compare" }, "Compare"), " / two runs"),
      element(
        "h1",
        { class: "pair" },
        chosen.map((run, index) => [index > 0 && element("small", {}, " and "), element("a", { class: `ink-${["blue", "orange"][index]}`, href: address("run", run.id) }, short(nameOf(chosen, index), 60))]),
      ),
      element("p", { class: "muted" }, chosen.map((run) => many(run.groups, "group")).join(" and ")),
      units.size > 1 && element("p", { class: "notice warn" }, "One run counts updates and the other minutes, so their axes do not match."),
      timeline.element,
    ),
  };
}

/** A run's name, with its id where both have the same. */
function nameOf(chosen, index) {
  const name = fullName(chosen[index]);
  return chosen.length > 1 && fullName(chosen[1 - index]) === name ? `${name} (${chosen[index].id})` : name;
}
