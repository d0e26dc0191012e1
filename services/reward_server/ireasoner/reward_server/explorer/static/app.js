/** The page: shows the view that the address names, and ends it when the address changes. */
import { Problem } from "./api.js";
import { element, fill } from "./element.js";
import { follow } from "./events.js";
import { openHelp } from "./help.js";
import { listen } from "./keyboard.js";
import { current } from "./route.js";

/** The views, each loaded with what it needs when it is first shown. */
const VIEWS = {
  runs: () => import("./runs.js"),
  run: () => import("./run.js"),
  groups: () => import("./groups.js"),
  group: () => import("./group.js"),
  compare: () => import("./compare.js"),
  try: () => import("./try.js"),
};
const TAB = { run: "runs", group: "groups" };
const SHOW_PROGRESS_MS = 150;

const main = document.getElementById("main");
const live = document.getElementById("live");
const progress = document.getElementById("progress");
const places = new Map();
let shown = null;
let ending = new AbortController();
let shownAddress = location.hash;

async function show() {
  places.set(shownAddress, { top: scrollY, item: document.activeElement?.dataset?.item });
  ending.abort();
  ending = new AbortController();
  const { signal } = ending;
  const route = current();
  const isReturn = history.state?.wasShown === true;
  const waiting = setTimeout(() => (progress.hidden = false), SHOW_PROGRESS_MS);
  setLive("");
  try {
    const { show: shownBy } = await (VIEWS[route.view] ?? VIEWS.runs)();
    if (signal.aborted) return;
    const view = await shownBy(route, contextOf(signal));
    if (signal.aborted) return;
    present(view, route, isReturn);
  } catch (error) {
    if (signal.aborted) return;
    present({ title: "Problem", element: problemCard(error), up: "#/runs" }, route, false);
    if (!(error instanceof Problem)) throw error;
  } finally {
    clearTimeout(waiting);
    if (!signal.aborted) progress.hidden = true;
  }
}

function contextOf(signal) {
  return {
    signal,
    follow: (run, onGroups, ledger) => void follow({ run, signal, onGroups, onState: setLive, isRecording: Boolean(ledger?.is_recording) }),
  };
}

function present(view, route, isReturn) {
  shown = view;
  document.title = `${view.title} · iReasoner explorer`;
  const tab = TAB[route.view] ?? route.view;
  for (const link of document.querySelectorAll("[data-view]")) {
    if (link.dataset.view === tab) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  fill(main, view.element);
  const place = isReturn ? places.get(location.hash) : undefined;
  shownAddress = location.hash;
  history.replaceState({ wasShown: true }, "");
  view.onShown?.();
  if (view.focus) return view.focus();
  main.focus({ preventScroll: true });
  scrollTo({ top: place?.top ?? 0 });
  if (place?.item) [...main.querySelectorAll("[data-item]")].find((item) => item.dataset.item === place.item)?.focus();
}

function problemCard(error) {
  const isKnown = error instanceof Problem;
  return element(
    "section",
    { class: "notice wrong", role: "alert" },
    element("strong", {}, error.status === 404 ? "Not found. " : "This view could not be shown. "),
    isKnown ? error.message : "The page met an error of its own; the browser's console has it.",
    isKnown && error.errors.length > 1 && element("ul", {}, error.errors.slice(1).map((fault) => element("li", {}, `${fault.place}: ${fault.reason}`))),
    element("p", {}, element("button", { type: "button", on: { click: show } }, "Try again"), " ", element("a", { href: "#/runs" }, "Experiments")),
  );
}

function setLive(state) {
  const said = { live: "live", reading: "read only", paused: "reconnecting", off: "" }[state] ?? "";
  live.dataset.state = state;
  fill(live, said);
}

addEventListener("popstate", () => {
  if (location.hash === shownAddress && shown?.title !== "Problem") return;
  show();
});
document.getElementById("help").addEventListener("click", openHelp);
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
listen({ view: () => shown, help: openHelp });
show();
