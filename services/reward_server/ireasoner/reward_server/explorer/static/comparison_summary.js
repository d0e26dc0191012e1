/** What a stored comparison found, in figures. */
import { element } from "./element.js";
import { count, decimal } from "./number.js";

/** The summary of a comparison, whatever figures it holds. */
export function summaryLine(summary) {
  const figures = Object.entries(summary ?? {}).filter(([, value]) => typeof value === "number");
  return element("dl", { class: "summary" }, figures.map(([name, value]) => element("div", {}, element("dt", {}, name.replaceAll("_", " ")), element("dd", {}, name === "correlation" ? decimal(value) : count(value)))));
}
