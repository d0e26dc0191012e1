/** Saves what is filtered as JSON lines. */
import { open } from "./api.js";
import { element, fill } from "./element.js";
import { size } from "./number.js";

/** A button that saves the groups that `query()` filters. */
export function exportButton(query, signal) {
  const button = element("button", { type: "button", title: "Save the whole groups that are filtered, one per line", on: { click: () => save() } }, "Export JSON lines");
  let isSaving = false;
  const save = async () => {
    if (isSaving) return;
    isSaving = true;
    try {
      keep(await received(await open("ledger/groups.jsonl", query(), signal), (bytes) => fill(button, `Exporting, ${size(bytes)}`)));
      fill(button, "Export JSON lines");
    } catch (error) {
      if (error.name !== "AbortError") fill(button, `Not exported: ${error.message}`);
    } finally {
      isSaving = false;
    }
  };
  return button;
}

async function received(response, onBytes) {
  const parts = [];
  let bytes = 0;
  const reader = response.body.getReader();
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return new Blob(parts, { type: "application/x-ndjson" });
    parts.push(value);
    bytes += value.length;
    onBytes(bytes);
  }
}

function keep(blob) {
  const url = URL.createObjectURL(blob);
  element("a", { href: url, download: "groups.jsonl" }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
