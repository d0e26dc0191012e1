/** The filters of the groups, as the address and the API name them. */
import { element } from "./element.js";
import { FLAGS } from "./figures.js";
import { clock } from "./number.js";
import { fullName } from "./run_name.js";

const SINGLE = ["run", "endpoint", "update_from", "update_until", "received_from_s", "received_until_s", "min_dominant_share", "max_dominant_share", "question", "image", "q"];
const ENDPOINTS = ["solver", "outcome", "trajectory", "proposer"];
const PAUSE_MS = 250;
const MAX_SEARCH_CHARACTERS = 256;

/** The filters and the order in a query. */
export function readFilters(query) {
  const found = Object.fromEntries(SINGLE.map((name) => [name, query.get(name) ?? ""]));
  return { ...found, flag: query.getAll("flag").filter((flag) => flag in FLAGS), sort: query.get("sort") ?? "received_s", order: query.get("order") === "asc" ? "asc" : "desc" };
}

/** The same as a query, without what is at its default. */
export function written(filters) {
  const query = { ...filters };
  if (query.sort === "received_s") delete query.sort;
  if (query.order === "desc") delete query.order;
  return query;
}

/** The form of the filters; `onChange(changed)` gets what the reader changed. */
export function filterForm(filters, { runs, onChange, actions }) {
  return element(
    "form",
    { class: "filters", role: "search", on: { submit: (event) => event.preventDefault() } },
    element(
      "div",
      { class: "toolbar" },
      searchField(filters, onChange),
      choice("run", "Run", filters.run, [["", "all runs"], ...runs.map((run) => [run.id, fullName(run).slice(0, 60)])], onChange),
      choice("endpoint", "Endpoint", filters.endpoint, [["", "all endpoints"], ...ENDPOINTS.map((name) => [name, name])], onChange),
      element("span", { class: "spring" }),
      actions,
    ),
    element(
      "div",
      { class: "toolbar" },
      flagToggles(filters, onChange),
      range("update", "update_from", "update_until", { min: 0, step: 1 }, filters, onChange),
      range("dominant share", "min_dominant_share", "max_dominant_share", { min: 0, max: 1, step: 0.05 }, filters, onChange),
      fixed(["received_from_s", "received_until_s"], times(filters), filters, onChange),
      fixed(["question"], "same question", filters, onChange),
      fixed(["image"], "same image", filters, onChange),
    ),
  );
}

function searchField(filters, onChange) {
  let timer;
  const search = (event) => {
    clearTimeout(timer);
    const { value } = event.target;
    timer = setTimeout(() => onChange({ q: value.trim() }), PAUSE_MS);
  };
  return element("input", { type: "search", value: filters.q, placeholder: "Search questions, answers and steps", "aria-label": "Search questions, answers and steps", maxlength: MAX_SEARCH_CHARACTERS, spellcheck: "false", on: { input: search } });
}

function choice(name, label, value, options, onChange) {
  const known = options.some(([each]) => each === value) ? options : [...options, [value, value]];
  return element(
    "select",
    { "aria-label": label, on: { change: (event) => onChange({ [name]: event.target.value }) } },
    known.map(([each, text]) => element("option", { value: each, selected: each === value }, text)),
  );
}

function flagToggles(filters, onChange) {
  const toggle = (event, name) => {
    const isOn = event.currentTarget.getAttribute("aria-pressed") !== "true";
    event.currentTarget.setAttribute("aria-pressed", String(isOn));
    const flag = [...event.currentTarget.parentElement.querySelectorAll("[aria-pressed=true]")].map((each) => each.dataset.flag);
    onChange({ flag });
  };
  return element(
    "span",
    { class: "toggles", role: "group", "aria-label": "Only groups with these marks" },
    Object.entries(FLAGS).map(([name, flag]) =>
      element("button", { type: "button", class: "chip", title: flag.meaning, "data-flag": name, "aria-pressed": String(filters.flag.includes(name)), on: { click: (event) => toggle(event, name) } }, flag.label),
    ),
  );
}

function range(label, low, high, limits, filters, onChange) {
  const field = (name, said) =>
    element("input", { type: "number", ...limits, value: filters[name], placeholder: said, "aria-label": `${label} ${said}`, on: { change: (event) => event.target.validity.valid && onChange({ [name]: event.target.value }) } });
  return element("span", { class: "range" }, label, field(low, "from"), "–", field(high, "to"));
}

function times({ received_from_s: from, received_until_s: until }) {
  return [from && `from ${clock(Number(from))}`, until && `before ${clock(Number(until))}`].filter(Boolean).join(" ");
}

/** A chip for filters that have no field, which drops them. */
function fixed(names, label, filters, onChange) {
  const set = names.filter((name) => filters[name]);
  if (!set.length) return null;
  const drop = (event) => {
    event.currentTarget.remove();
    onChange(Object.fromEntries(set.map((name) => [name, ""])));
  };
  return element("button", { type: "button", class: "chip on", title: `${set.map((name) => filters[name]).join(" to ")}: show all again`, on: { click: drop } }, label, " ×");
}
