/** The groups of the same question and of the same image that are nearest in time. */
import { element } from "./element.js";
import { flags } from "./group_table.js";
import { NONE, ago, decimal } from "./number.js";
import { address } from "./route.js";
import { short } from "./text.js";

/** Both lists; one that is empty is left out. */
export function neighbourLists({ same_question: question, same_image: image }, group) {
  const lists = [
    question.length > 0 && list("Same question and image", question, address("groups", "", { run: group.run, question: group.question_id }), false),
    image.length > 0 && list("Same image", image, address("groups", "", { run: group.run, image: group.image }), true),
  ].filter(Boolean);
  return lists.length ? element("div", { class: "neighbours" }, lists) : element("p", { class: "muted" }, "No other group of this run has the same question or image.");
}

function list(title, groups, all, withQuestion) {
  return element(
    "section",
    { class: "card" },
    element("h3", {}, title, " ", element("a", { href: all }, "show all")),
    element(
      "table",
      {},
      element("thead", {}, element("tr", {}, element("th", { scope: "col" }, withQuestion ? "question" : "when"), element("th", { scope: "col" }, "answer"), element("th", { scope: "col", class: "n" }, "share"), element("th", { scope: "col", class: "n" }, "reward"))),
      element("tbody", {}, groups.map((group) => row(group, withQuestion))),
    ),
  );
}

function row(group, withQuestion) {
  const when = group.update === null ? ago(group.received_s) : `update ${group.update}`;
  const label = withQuestion && group.question ? short(group.question, 70) : when;
  return element(
    "tr",
    {},
    element("td", {}, element("a", { href: address("group", group.id), dir: "auto" }, label), withQuestion && element("small", {}, ` ${when}`)),
    element("td", {}, element("b", { dir: "auto" }, group.dominant_answer === null ? NONE : short(group.dominant_answer, 24)), flags(group)),
    element("td", { class: "n" }, decimal(group.dominant_share, 2)),
    element("td", { class: "n" }, decimal(group.reward)),
  );
}
