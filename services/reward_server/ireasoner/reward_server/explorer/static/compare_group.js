/** One stored group under two configs, scored anew. */
import { get, post } from "./api.js";
import { changedRewards, isChanged, rankFlips, ranks } from "./comparison_figures.js";
import { clusterList } from "./clusters.js";
import { element } from "./element.js";
import { NONE, decimal, signed } from "./number.js";
import { knownConfigs } from "./presets.js";
import { address, go } from "./route.js";
import { groupName } from "./run_name.js";
import { prose, short } from "./text.js";

/** Shows `group` under the configs `a` and `b`; a Proposer's group has one reward, and none per rollout. */
export async function groupUnderTwo(query, { signal }) {
  const id = query.get("group");
  const names = [query.get("a") ?? "paper", query.get("b") ?? "robust"];
  const [answer, group, configs] = await Promise.all([
    post("ledger/compare", { group: id, configs: names }, signal),
    get(`ledger/groups/${encodeURIComponent(id)}`, undefined, signal),
    knownConfigs(signal),
  ]);
  const sides = answer.scored.map((each) => each.scored);
  return {
    title: `${names.join(" and ")} for one group`,
    up: address("group", id),
    element: element(
      "div",
      {},
      element("p", { class: "kicker" }, element("a", { href: "#/compare" }, "Compare"), " / ", element("a", { href: address("group", id) }, "group ", short(groupName(group), 60))),
      group.question ? prose(group.question, {}, "h1") : element("h1", {}, "Group ", short(groupName(group), 60)),
      choices(id, names, Object.keys(configs)),
      facts(sides),
      element("h2", {}, "Answers"),
      element("div", { class: "two" }, sides.map((scored, index) => element("section", { class: "card" }, element("h3", {}, names[index]), clusterList(scored, group.labels)))),
      sides[0].rollouts && [element("h2", {}, "Rewards"), element("section", { class: "card scroll" }, rewardTable(sides, names))],
    ),
  };
}

function choices(id, names, known) {
  const all = [...new Set([...known, ...names])];
  const choice = (label, place) =>
    element(
      "select",
      { "aria-label": label, on: { change: (event) => go(address("compare", "", { group: id, a: place === 0 ? event.target.value : names[0], b: place === 1 ? event.target.value : names[1] })) } },
      all.map((name) => element("option", { value: name, selected: name === names[place] }, name)),
    );
  return element("div", { class: "toolbar" }, choice("First config", 0), element("span", { class: "muted" }, "against"), choice("Second config", 1));
}

function facts([a, b]) {
  const [before, after] = [rewardsOf(a), rewardsOf(b)];
  const isSame = a.dominant_answer === b.dominant_answer;
  return element(
    "dl",
    { class: "facts" },
    fact("changed rewards", `${changedRewards(before, after)} of ${before.length}`),
    fact("rank flips", String(rankFlips(before, after))),
    fact("dominant answer", isSame ? "the same" : [short(a.dominant_answer ?? NONE, 24), " → ", short(b.dominant_answer ?? NONE, 24)]),
    fact("dominant share", `${decimal(a.dominant_share)} → ${decimal(b.dominant_share)}`),
    !a.rollouts && fact("Proposer reward", `${decimal(a.proposer_reward)} → ${decimal(b.proposer_reward)}`),
    fact("entropy", `${decimal(a.entropy_nats)} → ${decimal(b.entropy_nats)}`),
  );
}

function fact(name, value) {
  return element("div", {}, element("dt", {}, name), element("dd", {}, value));
}

function rewardsOf(scored) {
  return scored.rollouts?.map((rollout) => rollout.reward) ?? [scored.proposer_reward];
}

function rewardTable([a, b], names) {
  const [before, after] = [rewardsOf(a), rewardsOf(b)];
  const [ranksBefore, ranksAfter] = [ranks(before), ranks(after)];
  const order = before.map((_, index) => index).sort((i, j) => changeOf(before[j], after[j]) - changeOf(before[i], after[i]) || i - j);
  return element(
    "table",
    { class: "changes" },
    element("thead", {}, element("tr", {}, ["rollout", "answer"].map((name) => element("th", { scope: "col" }, name)), [...names, "change", "rank"].map((name) => element("th", { scope: "col", class: "n" }, name)))),
    element(
      "tbody",
      {},
      order.map((index) =>
        element(
          "tr",
          { class: isChanged(before[index], after[index]) ? "changed" : "" },
          element("td", {}, short(a.rollouts[index].id, 24)),
          element("td", {}, answers(a.rollouts[index].answer, b.rollouts[index].answer)),
          element("td", { class: "n" }, decimal(before[index], 4)),
          element("td", { class: "n" }, decimal(after[index], 4)),
          element("td", { class: "n" }, changeCell(before[index], after[index])),
          element("td", { class: "n" }, ranksBefore[index] === ranksAfter[index] ? ranksBefore[index] ?? NONE : element("b", {}, `${ranksBefore[index] ?? NONE} → ${ranksAfter[index] ?? NONE}`)),
        ),
      ),
    ),
  );
}

function changeOf(before, after) {
  return before === null || after === null ? (before === after ? 0 : Infinity) : Math.abs(after - before);
}

function answers(a, b) {
  const written = (answer) => (answer === null ? NONE : element("b", { dir: "auto" }, short(answer, 40)));
  return a === b ? written(a) : [written(a), " → ", written(b)];
}

/** A change as a bar from the middle, and its number. */
function changeCell(before, after) {
  if (before === null || after === null) return NONE;
  const change = after - before;
  return element("span", { class: `change ${change < 0 ? "down" : "up"}`, vars: { "--size": Math.min(1, Math.abs(change)).toFixed(4) } }, element("i", { "aria-hidden": "true" }), signed(change, 4));
}
