/** The view that scores pasted rollouts. */
import { post } from "./api.js";
import { element, fill } from "./element.js";
import { groupPage } from "./group_page.js";
import { readPasted } from "./pasted.js";
import { knownConfigs } from "./presets.js";
import { address, note } from "./route.js";

const KEPT = "ireasoner.pasted";
const MAX_LINK_CHARACTERS = 6000;
const EXAMPLE = `<think>
Step 1: Row 2 reads 3, 1, 3.
Step 2: 3 + 1 = 4.
Step 3: 4 + 3 = 7.
</think>
<answer>7</answer>
---
<think>
Step 1: The second row reads 3, 1 and 3.
Step 2: 3 + 3 = 6.
Step 3: 6 + 1 = 7.
</think>
<answer>7.0</answer>
---
<think>
Step 1: Row 2 reads 3, 1, 8.
Step 2: 3 + 1 + 8 = 12.
</think>
<answer>12</answer>`;

/** Shows the form. Query: `config`, `overrides`, `progress`, and `text` if it is short enough for a link. */
export async function show({ query }, { signal }) {
  const configs = await knownConfigs(signal);
  const form = new TryForm(query, configs, signal);
  return { title: "Try", up: "#/runs", element: form.element, onShown: () => query.get("text") && form.score() };
}

class TryForm {
  constructor(query, configs, signal) {
    this.configs = configs;
    this.signal = signal;
    this.text = element("textarea", { id: "pasted", rows: 14, spellcheck: "false", value: query.get("text") ?? sessionStorage.getItem(KEPT) ?? "", placeholder: "<think>…</think><answer>7</answer>\n---\n<think>…</think><answer>8</answer>" });
    const names = Object.keys(configs).length ? Object.keys(configs) : ["paper", "robust"];
    const chosen = query.get("config") ?? "robust";
    this.config = element("select", { id: "config" }, names.map((name) => element("option", { value: name, selected: name === chosen }, name)));
    this.overrides = element("input", { id: "overrides", type: "text", spellcheck: "false", value: query.get("overrides") ?? "", placeholder: '{"alpha": 0.5}' });
    this.progress = element("input", { id: "training-progress", type: "range", min: 0, max: 1, step: 0.05, value: query.get("progress") ?? 1, on: { input: () => this.showProgress() } });
    this.progressText = element("output", { for: "training-progress" });
    this.which = element("select", { "aria-label": "Group", hidden: true, on: { change: () => this.score() } });
    this.said = element("p", { class: "muted", role: "status" });
    this.result = element("div", { class: "result" });
    this.showProgress();
    this.element = this.built();
  }

  built() {
    return element(
      "div",
      {},
      element("h1", {}, "Try"),
      element("p", { class: "lead" }, "Paste the rollouts of one question and see what each would be paid, and why."),
      element(
        "form",
        { class: "card try", on: { submit: (event) => (event.preventDefault(), this.score()), keydown: (event) => event.key === "Enter" && (event.ctrlKey || event.metaKey) && this.score() } },
        element("label", { for: "pasted" }, "Rollouts ", element("small", {}, "with a line of --- between them, or JSON: a group, a list of rollouts, or a list of texts")),
        this.text,
        element(
          "div",
          { class: "fields" },
          element("div", {}, element("label", { for: "config" }, "Config"), this.config),
          element("div", { class: "grow" }, element("label", { for: "overrides" }, "Overrides ", element("small", {}, "JSON")), this.overrides),
          element("div", {}, element("label", { for: "training-progress" }, "Progress ", this.progressText), this.progress),
        ),
        element("div", { class: "actions" }, element("button", { type: "button", on: { click: () => ((this.text.value = EXAMPLE), this.score()) } }, "Load an example"), this.which, element("button", { type: "submit", class: "primary" }, "Score")),
      ),
      this.said,
      this.result,
    );
  }

  showProgress() {
    fill(this.progressText, Number(this.progress.value).toFixed(2));
  }

  async score() {
    const text = this.text.value;
    sessionStorage.setItem(KEPT, text);
    this.turn = (this.turn ?? 0) + 1;
    const { turn } = this;
    try {
      const groups = readPasted(text);
      const overrides = readOverrides(this.overrides.value);
      this.link(text);
      const group = this.chosen(groups);
      const progress = Number(this.progress.value);
      const body = { groups: [group], config: { preset: this.config.value, ...overrides }, progress, detail: "full", record: false };
      fill(this.said, "Scoring…");
      const answer = await post("score/solver", body, this.signal);
      if (turn === this.turn) this.present(group, answer, overrides, progress);
    } catch (error) {
      if (this.signal.aborted || turn !== this.turn) return;
      fill(this.said, element("span", { class: "wrong", role: "alert" }, error.message), (error.errors ?? []).slice(1).map((fault) => element("span", { class: "fault" }, `${fault.place}: ${fault.reason}`)));
      fill(this.result);
    }
  }

  /** The group to show, of several. */
  chosen(groups) {
    const at = Math.min(Math.max(this.which.selectedIndex, 0), groups.length - 1);
    this.which.hidden = groups.length < 2;
    fill(this.which, groups.slice(0, 200).map((group, index) => element("option", { value: index, selected: index === at }, group.id.slice(0, 40))));
    return groups[at];
  }

  link(text) {
    const query = { config: this.config.value, overrides: this.overrides.value, progress: this.progress.value };
    note(address("try", "", text.length <= MAX_LINK_CHARACTERS ? { ...query, text } : query), { replace: true });
  }

  present(group, answer, overrides, progress) {
    const [scored] = answer.groups;
    const base = this.configs[this.config.value] ?? null;
    const config = base && { ...base, ...overrides };
    const rewards = scored.rollouts.map((rollout) => rollout.reward).filter((reward) => reward !== null);
    const page = {
      endpoint: "solver",
      scored,
      sent: group,
      question: group.question,
      labels: group.labels,
      config,
      config_label: Object.keys(overrides).length ? `${this.config.value}+` : this.config.value,
      step_weight: config && lambda(progress, config),
      fingerprint: answer.fingerprint,
      request_id: answer.request_id,
      progress,
      reward: mean(rewards),
      outcome: mean(scored.rollouts.map((rollout) => rollout.outcome)),
      trajectory: mean(scored.rollouts.map((rollout) => rollout.trajectory)),
      spread: rewards.length ? Math.max(...rewards) - Math.min(...rewards) : null,
      dominant_share: scored.dominant_share,
      entropy_nats: scored.entropy_nats,
      proposer_reward: scored.proposer_reward,
    };
    fill(this.said, this.text.value.length <= MAX_LINK_CHARACTERS ? "The address of this page now holds the rollouts." : "The rollouts are too long for a link.");
    fill(this.result, groupPage(page, { presets: this.configs, signal: this.signal }));
  }
}

function readOverrides(text) {
  if (!text.trim()) return {};
  let value;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new Error(`The overrides are not JSON: ${error.message}`);
  }
  if (value === null || typeof value !== "object" || Array.isArray(value)) throw new Error('The overrides must be an object, such as {"alpha": 0.5}.');
  return value;
}

function mean(values) {
  const known = values.filter((value) => value !== null);
  return known.length ? known.reduce((sum, value) => sum + value, 0) / known.length : null;
}

/** The weight of the steps at a progress: 0 up to `warmup`, then linear to `lambda_max`; or `lambda_max` throughout. */
function lambda(progress, { lambda_max: top, lambda_schedule: schedule, warmup }) {
  return schedule === "constant" ? top : (top * Math.max(0, progress - warmup)) / (1 - warmup);
}
