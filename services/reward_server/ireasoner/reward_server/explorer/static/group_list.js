/** The list of groups that the reader came from: the previous and the next group are the neighbours in it. */

let ids = [];
let origin = "";

/** Keeps the list that is on the page, and its address. */
export function remember(list, listAddress) {
  ids = list;
  origin = listAddress;
}

/** The ids before and after one, and the list's address; null if it is not in the list. */
export function around(id) {
  const at = ids.indexOf(id);
  return at < 0 ? null : { previous: ids[at - 1] ?? null, next: ids[at + 1] ?? null, origin };
}
