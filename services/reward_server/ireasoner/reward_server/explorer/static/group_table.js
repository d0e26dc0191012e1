/** Summaries of groups as a table. */
import { element } from "./element.js";
import { FIGURES, FLAGS } from "./figures.js";
import { image } from "./image.js";
import { NONE, ago, clock, decimal } from "./number.js";
import { address } from "./route.js";
import { fullName, groupName } from "./run_name.js";
import { short } from "./text.js";

export const COLUMNS = ["reward", "outcome", "trajectory", "excess", "spread", "dominant_share", "entropy_nats", "proposer_reward", "words", "steps", "correct_share"];

const KEY_COLUMNS = ["reward", "spread", "dominant_share", "entropy_nats"];

/** The head of the table; `sortLink(column)` gives the address that sorts by a column, and `sorted` says how it is now. */
export function tableHead({ columns, sorted, sortLink }) {
  const head = (name, label, meaning, className) => {
    const isSorted = sorted.sort === name;
    const mark = isSorted ? (sorted.order === "asc" ? " ↑" : " ↓") : "";
    const said = isSorted ? (sorted.order === "asc" ? "ascending" : "descending") : "none";
    return element("th", { scope: "col", class: className, "aria-sort": said, title: meaning }, sortLink ? element("a", { href: sortLink(name), "data-sort": name }, label, mark) : label);
  };
  return element(
    "thead",
    {},
    element(
      "tr",
      {},
      head("received_s", "group", "Sort by time."),
      element("th", { scope: "col" }, "dominant answer"),
      columns.map((name) => head(name, FIGURES[name].label, FIGURES[name].meaning, "n")),
    ),
  );
}

/** One group; the whole row is its link. */
export function tableRow(group, { columns, signal, sorted, withRun = false }) {
  return element(
    "tr",
    {},
    element(
      "td",
      { class: "what" },
      group.image ? image(group.image, { alt: "", signal, isLazy: true }) : element("div", { class: "picture none" }),
      element(
        "div",
        {},
        element("a", { class: "row-link", href: address("group", group.id), "data-item": group.id, dir: "auto" }, group.question ? short(group.question, 120) : ["Group ", short(groupName(group), 80)]),
        element("small", {}, caption(group, withRun)),
      ),
    ),
    element("td", { class: "answer" }, answer(group), flags(group)),
    columns.map((name) => element("td", { class: KEY_COLUMNS.includes(name) || name === sorted ? "n" : "n minor", "data-label": FIGURES[name].label }, decimal(group[name], FIGURES[name].digits))),
  );
}

function caption(group, withRun) {
  const parts = [withRun && fullName(group), group.update !== null && `update ${group.update}`, group.endpoint !== "solver" && group.endpoint];
  return [parts.filter(Boolean).map((part) => [short(part, 60), " · "]), element("time", { datetime: new Date(1000 * group.received_s).toISOString(), title: clock(group.received_s) }, ago(group.received_s))];
}

function answer(group) {
  if (group.dominant_answer === null) return element("span", { class: "muted" }, NONE);
  return element("b", { dir: "auto" }, short(group.dominant_answer, 40));
}

/** The marks that hold for a group. */
export function flags(group) {
  const held = Object.entries(FLAGS).filter(([, flag]) => flag.holds(group));
  if (!held.length) return null;
  return element("span", { class: "flags" }, held.map(([name, flag]) => element("span", { class: `flag ${name}`, title: flag.meaning }, flag.label)));
}
