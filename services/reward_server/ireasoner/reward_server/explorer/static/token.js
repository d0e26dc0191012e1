/** The bearer token of this tab. It is asked for when the server wants one, and forgotten when the tab closes. */
import { element } from "./element.js";

const KEY = "ireasoner.token";
let asking = null;

/** The headers that carry the token, if there is one. */
export function authorization() {
  const token = sessionStorage.getItem(KEY);
  return token ? { authorization: `Bearer ${token}` } : {};
}

/** Whether a token is kept. */
export function hasToken() {
  return sessionStorage.getItem(KEY) !== null;
}

/** Forgets the token. */
export function forget() {
  sessionStorage.removeItem(KEY);
}

/** Asks for a token, once however many requests wait for it; false if the reader gave none. */
export function ask(reason) {
  asking ??= answered(reason).finally(() => {
    asking = null;
  });
  return asking;
}

function answered(reason) {
  return new Promise((resolve) => {
    const input = element("input", { type: "password", id: "token", autocomplete: "off", spellcheck: "false", required: true });
    const dialog = element(
      "dialog",
      { class: "dialog", "aria-labelledby": "token-title" },
      element(
        "form",
        {
          on: {
            submit: (event) => {
              event.preventDefault();
              sessionStorage.setItem(KEY, input.value.trim());
              dialog.close("given");
            },
          },
        },
        element("h2", { id: "token-title" }, "This server needs a token"),
        element("p", { class: "muted" }, `${reason}. `, "It is sent as a header and kept in this tab only."),
        element("label", { for: "token" }, "Token"),
        input,
        element(
          "div",
          { class: "actions" },
          element("button", { type: "button", on: { click: () => dialog.close("") } }, "Cancel"),
          element("button", { type: "submit", class: "primary" }, "Use this token"),
        ),
      ),
    );
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "given");
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}
