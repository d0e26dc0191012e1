/** A stored comparison: groups by the size of their change. */
import { get } from "./api.js";
import { summaryLine } from "./comparison_summary.js";
import { element, fill } from "./element.js";
import { moreButton } from "./more.js";
import { NONE, ago, count, decimal, many } from "./number.js";
import { knownConfigs } from "./presets.js";
import { address } from "./route.js";
import { groupName } from "./run_name.js";
import { slopes } from "./slopes.js";
import { short } from "./text.js";

const PAGE = 50;
const SORTS = { change: "largest change", flips: "rank flips" };

/** Shows the comparison of a name; `sort` is `change` or `flips`. */
export async function storedComparison(name, query, { signal }) {
  const sort = query.get("sort") in SORTS ? query.get("sort") : "change";
  const path = `ledger/comparisons/${encodeURIComponent(name)}`;
  const ask = (cursor) => get(path, new URLSearchParams({ sort, limit: PAGE, ...(cursor ? { cursor } : {}) }), signal);
  const [first, configs] = await Promise.all([ask(null), knownConfigs(signal)]);
  const { comparison } = first;
  const pair = knownPair(comparison, configs);
  const body = element("tbody");
  const more = element("div", { class: "more" });
  const add = ({ rows, next }) => {
    body.append(...rows.map((row) => changeRow(row, pair)));
    fill(more, next && moreButton(`Show ${PAGE} more`, { read: () => ask(next), show: add, signal }));
  };
  add(first);
  const isDone = comparison.done >= comparison.groups;
  return {
    title: comparison.name,
    up: "#/compare",
    element: element(
      "div",
      {},
      element("p", { class: "kicker" }, element("a", { href: "#/compare" }, "Compare"), ` / scored anew ${ago(comparison.created_s)}`),
      element("h1", {}, short(comparison.name, 80)),
      element("p", { class: "muted" }, short(comparison.against ?? "as recorded", 40), " → ", short(comparison.config, 40), ` · ${isDone ? many(comparison.groups, "group") : `${count(comparison.done)} of ${count(comparison.groups)} groups so far`}`),
      summaryLine(comparison.summary),
      element("div", { class: "toolbar" }, element("span", { class: "tabs", role: "group", "aria-label": "Order" }, Object.entries(SORTS).map(([each, label]) => element("a", { href: address("compare", name, { sort: each }), "aria-current": each === sort && "true" }, label)))),
      element("section", { class: "card table" }, element("table", { class: "groups" }, head(), body)),
      more,
    ),
  };
}

function head() {
  return element("thead", {}, element("tr", {}, ["group", "dominant answer"].map((name) => element("th", { scope: "col" }, name)), ["rewards", "largest change", "rank flips"].map((name) => element("th", { scope: "col", class: "n" }, name))));
}

/** Both configs, if the server knows them by name; null if it cannot score a group with them again. */
function knownPair({ against: a, config: b }, configs) {
  return a !== null && [a, b].every((label) => Object.hasOwn(configs, label)) ? { a, b } : null;
}

function changeRow({ group, before, after, change, rank_flips: flips, dominant_before: was, dominant_after: is }, pair) {
  const target = pair ? address("compare", "", { group: group.id, ...pair }) : address("group", group.id);
  const written = (answer) => element("b", { dir: "auto" }, answer === null ? NONE : short(answer, 32));
  return element(
    "tr",
    {},
    element("td", { class: "what" }, element("div", {}, element("a", { class: "row-link", href: target, "data-item": group.id, dir: "auto" }, group.question ? short(group.question, 120) : ["Group ", short(groupName(group), 80)]), element("small", {}, group.update !== null && `update ${group.update} · `, many(group.rollouts, "rollout")))),
    element("td", { class: "answer" }, was === is ? written(was) : [written(was), " → ", written(is)]),
    element("td", { class: "n" }, slopes(before, after)),
    element("td", { class: "n", "data-label": "largest change" }, decimal(change)),
    element("td", { class: "n", "data-label": "rank flips" }, flips),
  );
}
