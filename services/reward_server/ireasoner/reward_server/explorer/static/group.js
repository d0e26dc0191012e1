/** The view of one group. */
import { get } from "./api.js";
import { element, fill } from "./element.js";
import { around } from "./group_list.js";
import { groupPage } from "./group_page.js";
import { flags } from "./group_table.js";
import { neighbourLists } from "./neighbours.js";
import { ago, clock } from "./number.js";
import { knownConfigs } from "./presets.js";
import { address, go } from "./route.js";
import { fullName, groupName } from "./run_name.js";
import { short } from "./text.js";

/** Shows a group by its id. */
export async function show({ id }, { signal }) {
  const path = `ledger/groups/${encodeURIComponent(id)}`;
  const [group, presets] = await Promise.all([get(path, undefined, signal), knownConfigs(signal)]);
  const list = around(id);
  const previous = list ? list.previous : group.newer;
  const next = list ? list.next : group.older;
  const near = element("div", {}, element("p", { class: "muted" }, "Looking for neighbours…"));
  findNeighbours(path, group, near, signal);
  const keys = { j: () => next && go(address("group", next)), k: () => previous && go(address("group", previous)), c: () => go(address("compare", "", { group: id })) };
  return {
    title: group.question ? `${group.question.slice(0, 60)}` : `Group ${groupName(group).slice(0, 60)}`,
    up: list?.origin ?? address("groups", "", { run: group.run }),
    keys,
    element: element("div", {}, head(group, { previous, next, list }), groupPage(group, { presets, signal }), element("h2", {}, "Neighbours"), near),
  };
}

function head(group, { previous, next, list }) {
  const step = (target, label, key) => (target ? element("a", { class: "button", href: address("group", target), title: `${label} (${key})` }, label) : element("span", { class: "button off", "aria-disabled": "true" }, label));
  return element(
    "div",
    { class: "group-head" },
    element(
      "div",
      {},
      element(
        "p",
        { class: "kicker" },
        element("a", { href: address("run", group.run) }, short(fullName(group), 60)),
        group.update !== null && [" / ", element("a", { href: address("groups", "", { run: group.run, update_from: group.update, update_until: group.update }) }, `update ${group.update}`)],
        " / ",
        group.endpoint,
        " · ",
        element("time", { datetime: new Date(1000 * group.received_s).toISOString(), title: clock(group.received_s) }, ago(group.received_s)),
      ),
      element("h1", { class: "group-name", title: `Sent as ${group.name.slice(0, 256)}` }, "Group ", short(groupName(group), 80), " ", flags(group)),
    ),
    element(
      "nav",
      { class: "toolbar", "aria-label": "Other groups" },
      list && element("a", { class: "button", href: list.origin, title: "Back to the list (esc)" }, "List"),
      step(previous, list ? "Previous" : "Newer", "k"),
      step(next, list ? "Next" : "Older", "j"),
      element("a", { class: "button", href: address("compare", "", { group: group.id }), title: "Score it under two configs (c)" }, "Compare configs"),
    ),
  );
}

async function findNeighbours(path, group, holder, signal) {
  try {
    fill(holder, neighbourLists(await get(`${path}/neighbours`, undefined, signal), group));
  } catch (error) {
    if (!signal.aborted) fill(holder, element("p", { class: "muted", role: "alert" }, `The neighbours could not be read: ${error.message}`));
  }
}
