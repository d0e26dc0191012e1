/** The address of a view: `#/group/0-17?run=0-1`. Every state of the page that can be sent is in it. */

/** The view, the id and the query of the current address. */
export function current() {
  const [path, query = ""] = splitOnce(location.hash.replace(/^#\/?/, ""));
  const [view = "", ...rest] = path.split("/");
  return { view: view || "runs", id: decoded(rest.join("/")), query: new URLSearchParams(query) };
}

function splitOnce(text) {
  const at = text.indexOf("?");
  return at < 0 ? [text] : [text.slice(0, at), text.slice(at + 1)];
}

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** The address of a view; values that are empty are left out, and a list is repeated. */
export function address(view, id = "", query = {}) {
  const entries = query instanceof URLSearchParams ? [...query] : Object.entries(query);
  const written = new URLSearchParams();
  for (const [name, value] of entries) {
    for (const each of Array.isArray(value) ? value : [value]) {
      if (each !== null && each !== undefined && each !== "") written.append(name, each);
    }
  }
  const path = id ? `${view}/${encodeURIComponent(id)}` : view;
  return written.size ? `#/${path}?${written}` : `#/${path}`;
}

/** Opens an address. */
export function go(target) {
  location.hash = target;
}

/** Writes an address that the view already shows, as a new entry of the history or in place of the current one. */
export function note(target, { replace = false } = {}) {
  if (target === location.hash) return;
  if (replace) history.replaceState(null, "", target);
  else history.pushState(null, "", target);
}
