/** The overlay with the keys and the terms. */
import { element } from "./element.js";
import { FIGURES } from "./figures.js";
import { KEYS } from "./keyboard.js";

/** Opens the help. */
export function openHelp() {
  const close = () => dialog.close();
  const dialog = element(
    "dialog",
    { class: "dialog wide", "aria-labelledby": "help-title", on: { click: (event) => event.target === dialog && close() } },
    element(
      "div",
      { class: "dialog-body" },
      element("h2", { id: "help-title" }, "Keys"),
      element("dl", { class: "keys" }, KEYS.map(([key, does]) => [element("dt", {}, element("kbd", {}, key)), element("dd", {}, does)])),
      element("h2", {}, "Figures"),
      element("dl", { class: "terms" }, Object.values(FIGURES).map((figure) => [element("dt", {}, figure.label), element("dd", {}, figure.meaning)])),
      element("p", { class: "muted" }, "Every view has its own address: copy it to send what you see. The same data is JSON under ", element("a", { href: "docs" }, "/ledger"), "."),
      element("div", { class: "actions" }, element("button", { type: "button", class: "primary", autofocus: true, on: { click: close } }, "Close")),
    ),
  );
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}
