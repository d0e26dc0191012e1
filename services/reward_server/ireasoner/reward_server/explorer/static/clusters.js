/** The answer clusters of a group: how often each answer was given, how it was written, and which rules joined the spellings. */
import { element } from "./element.js";
import { decimal, many } from "./number.js";
import { prose, short } from "./text.js";

/** The clusters, the dominant one first. */
export function clusterList(scored, labels) {
  const rollouts = scored.rollouts?.length || scored.clusters.reduce((sum, each) => sum + each.count, 0);
  if (!scored.clusters.length) return element("p", { class: "muted" }, "No rollout has an answer.");
  return element("ul", { class: "clusters" }, scored.clusters.map((cluster, index) => clusterItem(cluster, { index, rollouts, scored, labels })));
}

function clusterItem(cluster, { index, rollouts, scored, labels }) {
  const isDominant = cluster.answer === scored.dominant_answer;
  const share = cluster.count / rollouts;
  return element(
    "li",
    { class: isDominant ? "dominant" : "", vars: { "--share": share.toFixed(4) } },
    element(
      "div",
      { class: "cluster-head" },
      prose(cluster.answer, { class: "cluster-answer" }, "b"),
      element("span", { class: "muted" }, `${cluster.count} of ${rollouts} · ${decimal(share, 2)}`),
      isDominant && element("span", { class: "flag" }, scored.tie ? "dominant, tied" : "dominant"),
      labels?.includes(cluster.answer) && element("span", { class: "flag right" }, "a label"),
    ),
    cluster.members?.length > 0 && spellings(cluster, index === 0),
  );
}

function spellings(cluster, isOpen) {
  const rules = cluster.members.some((member) => member.rules.length);
  if (cluster.members.length === 1 && !rules) return null;
  return element(
    "details",
    { open: isOpen && cluster.members.length <= 8 },
    element("summary", {}, many(cluster.members.length, "spelling")),
    element(
      "table",
      { class: "spellings" },
      element("thead", {}, element("tr", {}, element("th", { scope: "col" }, "as written"), element("th", { scope: "col", class: "n" }, "rollouts"), element("th", { scope: "col" }, "rules that joined it"))),
      element(
        "tbody",
        {},
        cluster.members.map((member) =>
          element(
            "tr",
            {},
            element("td", {}, prose(member.answer, {}, "code")),
            element("td", { class: "n" }, member.count),
            element("td", { class: "rules" }, member.rules.length ? member.rules.map((rule, place) => [place > 0 && " → ", element("span", {}, short(rule, 60))]) : element("span", { class: "muted" }, "as it is")),
          ),
        ),
      ),
    ),
  );
}
