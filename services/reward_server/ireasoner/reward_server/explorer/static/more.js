/** A button that reads the next page; if that fails it says why, and can be pressed again. */
import { element, fill } from "./element.js";

/** `read()` gets the page, and `show(page)` what it got. */
export function moreButton(label, { read, show, signal }) {
  const problem = element("span", { class: "wrong", role: "alert" });
  const button = element("button", { type: "button", "data-item": "more", on: { click: () => load() } }, label);
  const load = async () => {
    button.disabled = true;
    fill(problem);
    try {
      show(await read());
    } catch (error) {
      if (signal.aborted) return;
      fill(problem, error.message);
      button.disabled = false;
    }
  };
  return [button, problem];
}
