/** What a group was scored with: the config, what differs from its preset, and the fingerprint. */
import { element } from "./element.js";

const MAX_CHARACTERS = 32;

/** The label of an imported group whose file does not say what it was scored with. */
const UNKNOWN = "unknown";

/** The config that a group was scored with; null if it is not known. */
export function knownConfig({ config, config_label: label }) {
  return label === UNKNOWN ? null : config;
}

/** The fields of a config beside those of the preset that it started from; `presets` maps names to configs. */
export function scoringCard(group, presets) {
  const { config_label: label, fingerprint, embedder, request_id: request, progress, endpoint } = group;
  const config = knownConfig(group);
  return element(
    "section",
    { class: "card scoring" },
    element(
      "dl",
      { class: "context" },
      [
        ["config", label],
        ["endpoint", endpoint],
        ["progress", rounded(progress)],
        ["embedder", embedder],
        ["fingerprint", fingerprint],
        ["request", request],
      ].filter(([, value]) => value !== null && value !== undefined && value !== "").map(([term, value]) => element("div", {}, element("dt", {}, term), element("dd", { title: String(value) }, element("code", {}, shortened(String(value)))))),
    ),
    config ? settings(config, label ?? "", presets) : element("p", { class: "muted" }, "The config is not known."),
  );
}

function settings(config, label, presets) {
  const name = label.replace(/\+$/, "");
  const base = presets[name] ? name : "paper";
  const preset = presets[base] ?? null;
  const changed = preset ? Object.keys(config).filter((field) => JSON.stringify(config[field]) !== JSON.stringify(preset[field])) : [];
  return [
    !preset
      ? element("p", { class: "muted" }, "The presets could not be read, so nothing is marked.")
      : changed.length
        ? [element("h3", {}, `Differs from ${base}`), fields(changed, config, preset)]
        : element("p", { class: "muted" }, `Every field is as in ${base}.`),
    element("details", {}, element("summary", {}, "All fields"), fields(Object.keys(config), config, preset)),
  ];
}

function fields(names, config, preset) {
  return element(
    "dl",
    { class: "settings" },
    names.map((name) => {
      const isChanged = preset && JSON.stringify(config[name]) !== JSON.stringify(preset[name]);
      return element("div", { class: isChanged ? "changed" : "" }, element("dt", {}, name), element("dd", {}, written(config[name]), isChanged && element("small", {}, ` not ${written(preset[name])}`)));
    }),
  );
}

function written(value) {
  return typeof value === "string" ? value : JSON.stringify(value) ?? "unset";
}

function rounded(value) {
  return value === null || value === undefined ? null : String(Number(value.toPrecision(4)));
}

/** A digest by its first characters; the whole is its title. */
function shortened(text) {
  return text.length > MAX_CHARACTERS ? `${text.slice(0, MAX_CHARACTERS)}…` : text;
}
