/** The view of many groups: a table that is sorted, filtered and searched by the server, a page at a time. */
import { get } from "./api.js";
import { element, fill } from "./element.js";
import { exportButton } from "./export.js";
import { filterForm, readFilters, written } from "./filters.js";
import { remember } from "./group_list.js";
import { COLUMNS, tableHead, tableRow } from "./group_table.js";
import { emptyLedger, readRuns } from "./ledger_state.js";
import { moreButton } from "./more.js";
import { count, many } from "./number.js";
import { address, go, note } from "./route.js";

const PAGE = 50;
const SEARCHED = "among the newest 65,536 groups of the ledger";

/** Shows the groups that the query filters. */
export async function show({ query }, context) {
  const { runs, ledger } = await readRuns(context.signal);
  const list = new GroupsView(readFilters(query), runs, ledger, context);
  if (runs.length) await list.load();
  return {
    title: "Groups",
    up: list.filters.run ? address("run", list.filters.run) : "#/runs",
    element: list.element,
    focus: query.get("focus") === "search" ? () => list.element.querySelector("[type=search]")?.focus() : null,
  };
}

class GroupsView {
  constructor(filters, runs, ledger, { signal, follow }) {
    this.filters = filters;
    this.signal = signal;
    this.fresh = 0;
    this.turn = 0;
    this.groups = [];
    this.pill = element("button", { type: "button", class: "pill", hidden: true, on: { click: () => this.load() } });
    this.table = element("div", { class: "card table" });
    this.more = element("div", { class: "more" });
    const actions = exportButton(() => this.asked(), signal);
    this.element = element(
      "div",
      {},
      element("h1", {}, "Groups"),
      runs.length ? [filterForm(filters, { runs, onChange: (changed) => this.change(changed), actions }), element("div", { class: "pill-holder", "aria-live": "polite" }, this.pill), this.table, this.more] : emptyLedger(ledger),
    );
    if (runs.length) follow(filters.run, (event) => this.onNew(event.groups), ledger);
  }

  /** The query that the API gets. */
  asked() {
    const { sort, order, ...rest } = this.filters;
    return new URLSearchParams(address("", "", { ...rest, sort, order }).split("?")[1] ?? "");
  }

  get address() {
    return address("groups", "", written(this.filters));
  }

  change(changed) {
    if (this.signal.aborted) return;
    this.filters = { ...this.filters, ...changed };
    if ("run" in changed) return go(this.address);
    note(this.address, { replace: "q" in changed });
    this.load();
  }

  /** Shows the first page, or why there is none; what an older call gets is dropped. */
  async load() {
    this.fresh = 0;
    this.pill.hidden = true;
    this.turn += 1;
    const { turn } = this;
    this.table.setAttribute("aria-busy", "true");
    try {
      const answer = await this.page(null);
      if (turn === this.turn) this.draw(answer, []);
    } catch (error) {
      if (this.signal.aborted || turn !== this.turn) return;
      if (turn === 1) throw error;
      fill(this.table, element("p", { class: "empty-state", role: "alert" }, error.message));
      fill(this.more);
    } finally {
      if (turn === this.turn) this.table.removeAttribute("aria-busy");
    }
  }

  page(cursor) {
    const query = this.asked();
    query.set("limit", PAGE);
    if (cursor) query.set("cursor", cursor);
    return get("ledger/groups", query, this.signal);
  }

  draw(answer, before) {
    this.groups = [...before, ...answer.groups];
    remember(this.groups.map((group) => group.id), this.address);
    const columns = COLUMNS.filter((name) => this.groups.some((group) => group[name] !== null));
    const row = (group) => tableRow(group, { columns, signal: this.signal, sorted: this.filters.sort, withRun: !this.filters.run });
    const kept = document.activeElement?.dataset?.item;
    if (this.groups.length) {
      const head = tableHead({ columns, sorted: this.filters, sortLink: (name) => this.sortedBy(name) });
      fill(this.table, element("table", { class: "groups" }, head, element("tbody", {}, this.groups.map(row))));
    } else fill(this.table, this.nothing(answer));
    if (kept) [...this.table.querySelectorAll("[data-item]")].find((item) => item.dataset.item === kept)?.focus();
    fill(this.more, this.moreOf(answer));
  }

  nothing(answer) {
    if (!answer.is_complete) return element("p", { class: "empty-state" }, answer.next ? "Nothing among the groups looked at so far." : `Nothing ${SEARCHED}.`);
    return element("div", { class: "empty-state" }, element("h2", {}, "No group matches"), element("p", {}, "Take a filter away, or ", element("a", { href: "#/groups" }, "show all groups"), "."));
  }

  moreOf(answer) {
    const all = answer.is_complete ? "all that match" : `all that match ${SEARCHED}`;
    const shown = element("span", { class: "muted" }, answer.next ? `${many(this.groups.length, "group")} shown` : `${many(this.groups.length, "group")}, ${all}`);
    if (!answer.next) return [this.groups.length > 0 && shown];
    const { turn } = this;
    const show = (more) => turn === this.turn && this.draw(more, this.groups);
    const label = answer.is_complete ? `Show ${PAGE} more` : "Search on";
    return [shown, moreButton(label, { read: () => this.page(answer.next), show, signal: this.signal })];
  }

  sortedBy(name) {
    const order = this.filters.sort === name && this.filters.order === "desc" ? "asc" : "desc";
    return address("groups", "", written({ ...this.filters, sort: name, order }));
  }

  onNew(groups) {
    if (!groups) return;
    this.fresh += groups;
    this.pill.hidden = false;
    fill(this.pill, `${count(this.fresh)} new ${this.fresh === 1 ? "group" : "groups"}`, element("small", {}, " show"));
  }
}
