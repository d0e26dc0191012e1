/** Texts of rollouts as they are: what a reader could not see, or what could mislead one, is written out. */
import { element, fill } from "./element.js";

const ANSI = "\\u001b(?:\\[[0-?]*[ -/]*[@-~]|\\][^\\u0007\\u001b]*(?:\\u0007|\\u001b\\\\)?|[@-Z\\\\-_])";
const AS_IT_IS = "\\r(?=\\n)|(?<=\\p{Extended_Pictographic}[\\p{Emoji_Modifier}\\ufe0f]{0,2})\\u200d(?=\\p{Extended_Pictographic})|(?<=[\\p{Emoji}])\\ufe0f";
const UNSEEN =
  "[\\p{Cc}\\p{Cf}\\p{Cs}\\p{Co}\\p{Zl}\\p{Zp}\\u034f\\u115f\\u1160\\u17b4\\u17b5\\u180b-\\u180f\\u2800\\u3164\\uffa0\\ufe00-\\ufe0f\\u{e0100}-\\u{e01ef}]";
const TONE = "(?:\\p{Emoji_Modifier}\\ufe0f?)";
/** More marks on one character than any script has: a browser needs seconds to lay out thousands of skin tones. */
const STACK = `(?<=\\p{M}{4})\\p{M}+|(?<=${TONE}{8})${TONE}+`;
const PARTS = new RegExp(`(?<kept>${AS_IT_IS})|(?<ansi>${ANSI})|(?<stack>${STACK})|(?<unseen>(?<first>${UNSEEN})\\k<first>*)`, "gu");

const NAMES = {
  0x00: "NUL", 0x08: "BS", 0x0b: "VT", 0x0c: "FF", 0x0d: "CR", 0x1b: "ESC", 0x7f: "DEL", 0xad: "SHY", 0x061c: "ALM",
  0x200b: "ZWSP", 0x200c: "ZWNJ", 0x200d: "ZWJ", 0x200e: "LRM", 0x200f: "RLM", 0x2028: "LS", 0x2029: "PS",
  0x202a: "LRE", 0x202b: "RLE", 0x202c: "PDF", 0x202d: "LRO", 0x202e: "RLO", 0x2060: "WJ", 0x2066: "LRI",
  0x2067: "RLI", 0x2068: "FSI", 0x2069: "PDI", 0xfeff: "BOM",
};
const FOLDED_CHARACTERS = 1500;
const FOLDED_LINES = 24;
const MAX_MARKS = 1000;

/** The nodes of a text, with a mark for each character that cannot be seen. */
export function visible(text) {
  const nodes = [];
  let marks = 0;
  let end = 0;
  for (const found of text.matchAll(PARTS)) {
    const label = labelled(found);
    if (label === null) continue;
    if (found.index > end) nodes.push(text.slice(end, found.index));
    end = found.index + found[0].length;
    marks += 1;
    nodes.push(marks > MAX_MARKS ? `⟨${label}⟩` : element("span", { class: "mark", title: points(found[0]) }, label));
  }
  if (end < text.length) nodes.push(text.slice(end));
  return nodes;
}

function labelled(found) {
  const { kept, ansi, stack, unseen } = found.groups;
  if (kept !== undefined) return null;
  if (ansi !== undefined) return `ESC${plain(ansi.slice(1))}`;
  if (stack !== undefined) return `+${[...stack].length} marks`;
  if (/^[\n\t]+$/.test(unseen)) return null;
  const characters = [...unseen];
  const name = NAMES[characters[0].codePointAt(0)] ?? code(characters[0]);
  return characters.length === 1 ? name : `${name} ×${characters.length}`;
}

function plain(sequence) {
  return sequence.replace(/\p{C}/gu, (character) => `⟨${code(character)}⟩`).slice(0, 40);
}

function code(character) {
  return `U+${character.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`;
}

function points(text) {
  const characters = [...text];
  return characters.slice(0, 8).map(code).join(" ") + (characters.length > 8 ? " …" : "");
}

/** A text on one line, cut after `length` characters. */
export function short(text, length = 160) {
  const line = text.slice(0, 8 * length).replace(/\s+/gu, " ").trim();
  const characters = [...line];
  return visible(characters.length > length ? `${characters.slice(0, length).join("")}…` : line);
}

/** A whole text in an element of its own direction; a long one is folded, with a button that shows the rest. */
export function prose(text, attributes = {}, name = "div") {
  const holder = element(name, { dir: "auto", ...attributes });
  const head = folded(text);
  if (head.length === text.length) return fill(holder, visible(text));
  const button = element(
    "button",
    { type: "button", class: "unfold", on: { click: () => fill(holder, visible(text)) } },
    `Show all ${text.length.toLocaleString("en")} characters`,
  );
  return fill(holder, visible(head), "… ", button);
}

function folded(text) {
  let end = Math.min(text.length, FOLDED_CHARACTERS);
  let line = -1;
  for (let lines = 0; lines < FOLDED_LINES; lines += 1) {
    line = text.indexOf("\n", line + 1);
    if (line < 0 || line >= end) break;
    if (lines === FOLDED_LINES - 1) end = line;
  }
  if (end === text.length || text.length - end < 200) return text;
  return text.slice(0, end).replace(/[\ud800-\udbff]$/, "");
}
