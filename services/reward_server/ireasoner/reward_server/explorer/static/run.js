/** The view of one run: its timeline. */
import { get } from "./api.js";
import { element, fill } from "./element.js";
import { throttled } from "./events.js";
import { readRuns } from "./ledger_state.js";
import { count, many } from "./number.js";
import { address, note } from "./route.js";
import { fullName } from "./run_name.js";
import { short } from "./text.js";
import { Timeline, pointsWithin } from "./timeline.js";

const REFRESH_MS = 1500;
const ALL = "all";

/**
 * Shows the timeline of a run. Query: `endpoint`, by default the one that Experiments shows, or `all`; `from` and `until` of
 * the zoom; `select` as `from-until`.
 */
export async function show({ id, query }, { signal, follow }) {
  const state = { endpoint: query.get("endpoint") ?? "", from: query.get("from") ?? "", until: query.get("until") ?? "", select: query.get("select") ?? "" };
  const { ledger, runs } = await readRuns(signal);
  const run = runs.find((each) => each.id === id) ?? { id, experiment: "-", source: id, groups: 0, rollouts: 0, endpoint: "" };
  const endpoint = state.endpoint === ALL ? "" : state.endpoint || run.endpoint;
  const asked = () => new URLSearchParams(Object.entries({ endpoint, from: state.from, until: state.until, points: "400" }).filter(([, value]) => value));
  const ask = () => get(`ledger/runs/${encodeURIComponent(id)}/timeline`, asked(), signal);
  let answer = await ask();

  const here = () => address("run", id, state);
  const bar = element("div", { class: "selection", role: "status" });
  const timeline = new Timeline({
    unit: answer.unit,
    onSelect: (range) => {
      state.select = range ? range.join("-") : "";
      note(here(), { replace: true });
      drawBar();
    },
  });
  const drawBar = () => fill(bar, selectionBar(run, endpoint, state, answer, timeline.selection));
  const draw = () => {
    timeline.show([{ name: fullName(run), points: answer.points }]);
    timeline.select(selected(state.select));
    drawBar();
  };
  const refresh = throttled(
    async () => {
      answer = await ask().catch(() => answer);
      if (!signal.aborted) draw();
    },
    REFRESH_MS,
    signal,
  );
  follow(id, refresh, ledger);
  const others = runs.filter((each) => each.id !== id);
  return {
    title: fullName(run),
    up: "#/runs",
    onShown: draw,
    element: element(
      "div",
      {},
      element("p", { class: "kicker" }, element("a", { href: "#/runs" }, "Experiments"), " / timeline"),
      element("h1", {}, short(fullName(run), 120)),
      element(
        "div",
        { class: "toolbar" },
        element("span", { class: "muted" }, `${many(run.groups, "group")} · ${many(run.rollouts, "rollout")}`),
        endpointTabs(run, endpoint, state, answer.endpoints),
        element("span", { class: "spring" }),
        others.length > 0 && overlayChoice(id, others),
        element("a", { class: "button", href: address("groups", "", { run: id, endpoint: state.endpoint && endpoint }), "data-item": "groups" }, "All groups"),
      ),
      bar,
      answer.points.length ? timeline.element : element("section", { class: "card empty-state" }, element("h2", {}, "No group here"), element("p", {}, "No group of this run matches. ", element("a", { href: address("run", id) }, "Show all"))),
    ),
  };
}

function selected(text) {
  const found = /^(\d+)-(\d+)$/.exec(text);
  return found ? [Number(found[1]), Number(found[2])] : null;
}

function endpointTabs(run, endpoint, state, endpoints) {
  if (endpoints.length < 2) return null;
  const first = (each) => (each === run.endpoint ? 0 : 1);
  return element(
    "span",
    { class: "tabs", role: "group", "aria-label": "Endpoint" },
    [...endpoints.toSorted((a, b) => first(a) - first(b)), ALL].map((each) =>
      element("a", { href: address("run", run.id, { ...state, endpoint: each }), "aria-current": each === (endpoint || ALL) && "true" }, each),
    ),
  );
}

function overlayChoice(id, others) {
  const choose = (event) => {
    if (event.target.value) location.hash = address("compare", "", { runs: `${id},${event.target.value}` });
  };
  return element(
    "select",
    { "aria-label": "Compare with another run", on: { change: choose } },
    element("option", { value: "" }, "Compare with…"),
    others.map((run) => element("option", { value: run.id }, fullName(run).slice(0, 60))),
  );
}

function selectionBar(run, endpoint, state, answer, range) {
  const isZoomed = state.from || state.until;
  const unzoom = isZoomed && element("a", { class: "button", href: address("run", run.id, { endpoint: state.endpoint }) }, "Show the whole run");
  if (!range) return unzoom ? [element("span", { class: "muted" }, `From ${state.from || "the start"} to ${state.until || "the end"}`), unzoom] : [];
  const groups = pointsWithin(answer.points, range).reduce((sum, point) => sum + point.groups, 0);
  const byUpdate = answer.unit === "update";
  const within = byUpdate ? { update_from: range[0], update_until: range[1] } : { received_from_s: 60 * range[0], received_until_s: 60 * (range[1] + 1) };
  const query = { run: run.id, endpoint, ...within };
  return [
    element("b", {}, byUpdate ? `Updates ${count(range[0])} to ${count(range[1])}` : many(range[1] - range[0] + 1, "minute")),
    element("span", { class: "muted" }, many(groups, "group")),
    element("a", { class: "button primary", href: address("groups", "", query), "data-item": "selected" }, "Show these groups"),
    element("a", { class: "button", href: address("run", run.id, { endpoint: state.endpoint, from: range[0], until: range[1] }) }, "Zoom in"),
    unzoom,
  ];
}
