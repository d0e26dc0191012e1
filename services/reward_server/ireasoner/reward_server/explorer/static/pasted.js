/** Reads groups from what a reader pastes. */

const SEPARATOR = /^\s*-{3,}\s*$/m;
const AFTER_ANSWER = /(?<=<\/answer>)\s*/;

/** The groups of a pasted text; throws an Error that says what to change. */
export function readPasted(text) {
  if (!text.trim()) throw new Error("Paste at least one rollout.");
  const groups = /^\s*[[{]/.test(text) ? fromJson(text) : [{ rollouts: blocks(text).map((each) => ({ text: each })) }];
  return groups.map(named);
}

/** Rollouts between lines of dashes; without any, each ends with its answer. */
function blocks(text) {
  const parts = SEPARATOR.test(text) ? text.split(new RegExp(SEPARATOR, "gm")) : text.split(AFTER_ANSWER);
  return parts.map((part) => part.trim()).filter(Boolean);
}

function fromJson(text) {
  const values = parsed(text);
  const groups = values.flatMap((value) => asGroups(value));
  if (!groups.length) throw new Error("The JSON holds no rollouts: give a group, a list of rollouts, or a list of texts.");
  return groups;
}

function parsed(text) {
  try {
    return [JSON.parse(text)];
  } catch (whole) {
    try {
      return text.split("\n").filter((line) => line.trim()).map((line) => JSON.parse(line));
    } catch {
      throw new Error(`Not JSON: ${whole.message}`);
    }
  }
}

function asGroups(value) {
  if (Array.isArray(value)) return value.length && value.every((each) => each?.rollouts) ? value : value.length ? [{ rollouts: value.map(asRollout) }] : [];
  if (value?.groups) return value.groups;
  if (value?.sent) return [value.sent];
  return value?.rollouts ? [{ ...value, rollouts: value.rollouts.map(asRollout) }] : [];
}

function asRollout(value) {
  return typeof value === "string" ? { text: value } : value;
}

const GROUP_FIELDS = ["question", "labels"];
const ROLLOUT_FIELDS = ["text", "answer", "steps", "finish_reason"];

/** A group as the wire takes it: with ids, and without fields that it does not know. */
function named(group, index) {
  const rollouts = group.rollouts.map((rollout, place) => ({ id: String(rollout.id ?? place), ...picked(rollout, ROLLOUT_FIELDS) }));
  return { id: String(group.id ?? `pasted ${index + 1}`), ...picked(group, GROUP_FIELDS), rollouts };
}

function picked(value, names) {
  return Object.fromEntries(names.filter((name) => value[name] !== undefined && value[name] !== null).map((name) => [name, value[name]]));
}
