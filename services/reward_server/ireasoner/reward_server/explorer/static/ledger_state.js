/** What the page says about the ledger itself: that it is empty, has a problem, or records nothing. */
import { get } from "./api.js";
import { element } from "./element.js";
import { count } from "./number.js";

const NO_LEDGER = { ledger: null, runs: [] };

/** The ledger's state and its runs; neither if the server keeps no ledger. */
export async function readRuns(signal) {
  try {
    return await get("ledger/runs", undefined, signal);
  } catch (error) {
    if (error.code === "no_ledger") return NO_LEDGER;
    throw error;
  }
}

/** Notices above everything else. */
export function ledgerNotices(ledger) {
  if (ledger === null) return [];
  const dropped = Object.values(ledger.dropped ?? {}).reduce((sum, each) => sum + each, 0);
  return [
    ledger.problem && element("p", { class: "notice wrong", role: "alert" }, element("strong", {}, "The ledger has a problem. "), ledger.problem, " Scoring goes on."),
    dropped > 0 && element("p", { class: "notice warn" }, `${count(dropped)} groups were scored and not recorded.`),
    ledger.evicted_groups > 0 &&
      element("p", { class: "notice" }, `${count(ledger.evicted_groups)} groups were evicted to stay within the size: the oldest updates of the whole ledger went first.`),
  ];
}

/** What to do if there is nothing to see. */
export function emptyLedger(ledger) {
  if (ledger && ledger.is_recording)
    return element(
      "section",
      { class: "card empty-state" },
      element("h2", {}, "No group yet"),
      element("p", {}, "The ledger is recording. Groups appear here as soon as they are scored: point your framework at this server, or score a file:"),
      element("pre", {}, "reward-score groups.jsonl"),
      element("p", {}, element("a", { href: "#/try" }, "Try"), " scores rollouts that you paste, and the ledger keeps nothing of them."),
    );
  return element(
    "section",
    { class: "card empty-state" },
    element("h2", {}, "This server records nothing"),
    element("p", {}, "Start it with a folder for the ledger, and every group that it scores can be seen here:"),
    element("pre", {}, "reward-server --ledger runs/ledger"),
    element("p", {}, "A ledger from elsewhere opens without a server that scores:"),
    element("pre", {}, "ireasoner explore runs/ledger"),
    element("p", {}, "Without a ledger, ", element("a", { href: "#/try" }, "Try"), " shows the page of the rollouts that you paste."),
  );
}
