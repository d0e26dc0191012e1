/** The keys of the page. */
import { go } from "./route.js";

export const KEYS = [
  ["j / k", "next / previous item; in a group, the next / previous group"],
  ["enter", "open the item"],
  ["c", "in a group, score it under two configs"],
  ["/", "search"],
  ["esc", "leave a field, clear a selection, or go up one level"],
  ["g then e, g, c or t", "experiments, groups, compare, try"],
  ["← / →", "in the charts and the heat map, move the crosshair; with shift, select updates"],
  ["?", "this help"],
];
const PLACES = { e: "#/runs", g: "#/groups", c: "#/compare", t: "#/try" };
const PREFIX_MS = 1500;

let prefixed_ms = -Infinity;

/** Listens to keys; `view()` is what is shown, with `keys` of its own and the address `up`; `help()` opens the help. */
export function listen({ view, help }) {
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (document.querySelector("dialog[open]")) return;
    if (isTyping(event.target)) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    if (pressed(event.key, event.timeStamp, view(), help)) event.preventDefault();
  });
}

function isTyping(target) {
  return target.matches?.("input:not([type=checkbox], [type=range]), textarea, select, [contenteditable]") ?? false;
}

function pressed(key, time_ms, view, help) {
  const isPrefixed = time_ms - prefixed_ms < PREFIX_MS;
  prefixed_ms = -Infinity;
  if (isPrefixed && key in PLACES) return done(() => go(PLACES[key]));
  if (view?.keys?.[key]) return done(view.keys[key]);
  if (key === "g") return done(() => (prefixed_ms = time_ms));
  if (key === "?") return done(help);
  if (key === "j") return move(1);
  if (key === "k") return move(-1);
  if (key === "/") return search();
  if (key === "Escape" && view?.up) return done(() => go(view.up));
  return false;
}

function done(work) {
  work();
  return true;
}

function search() {
  const field = document.querySelector("main input[type=search]");
  if (field) field.select();
  else go("#/groups?focus=search");
  field?.focus();
  return true;
}

function move(by) {
  const items = [...document.querySelectorAll("main [data-item]")].filter((item) => item.offsetParent !== null);
  if (!items.length) return false;
  const here = items.indexOf(document.activeElement?.closest("[data-item]"));
  const next = items[here < 0 ? (by > 0 ? 0 : items.length - 1) : Math.min(Math.max(here + by, 0), items.length - 1)];
  next.focus();
  next.scrollIntoView({ block: "nearest" });
  return true;
}
