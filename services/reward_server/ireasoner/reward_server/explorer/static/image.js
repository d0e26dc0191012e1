/** Images of the ledger. They are fetched, not linked, because the token is a header. */
import { open } from "./api.js";
import { element, fill } from "./element.js";

const KEPT = 200;
const kept = new Map();

/** An image by its SHA-256; what is loaded only when it comes into sight says so with `lazy`. */
export function image(sha256, { alt, signal, isLazy = false }) {
  const holder = element("div", { class: "picture" });
  const load = () => show(holder, sha256, alt, signal);
  if (!isLazy) load();
  else {
    const seen = new IntersectionObserver((entries) => {
      if (!entries.some((entry) => entry.isIntersecting)) return;
      seen.disconnect();
      load();
    });
    seen.observe(holder);
    signal.addEventListener("abort", () => seen.disconnect());
  }
  return holder;
}

async function show(holder, sha256, alt, signal) {
  try {
    const url = await addressOf(sha256);
    if (!signal.aborted) fill(holder, element("img", { src: url, alt }));
  } catch (error) {
    if (!signal.aborted) fill(holder, element("div", { class: "gone", title: sha256 }, error.status === 404 ? "image not kept" : "image not readable"));
  }
}

/** A blob's address; the ones that were used longest ago are given up. */
function addressOf(sha256) {
  const known = kept.get(sha256);
  kept.delete(sha256);
  kept.set(sha256, known ?? fetched(sha256));
  if (kept.size > KEPT) {
    const [oldest, url] = kept.entries().next().value;
    kept.delete(oldest);
    url.then(URL.revokeObjectURL, () => {});
  }
  return kept.get(sha256);
}

async function fetched(sha256) {
  try {
    const response = await open(`ledger/images/${encodeURIComponent(sha256)}`);
    return URL.createObjectURL(await response.blob());
  } catch (error) {
    kept.delete(sha256);
    throw error;
  }
}
