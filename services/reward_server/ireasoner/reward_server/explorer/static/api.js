/** Calls of the reward server's API. */
import { ask, authorization, forget, hasToken } from "./token.js";

const DEADLINE_MS = 30_000;

/** An error that the server reported, or its silence; `status` is 0 if there was no response. */
export class Problem extends Error {
  constructor(status, detail, { code = "", errors = [] } = {}) {
    super(detail);
    this.status = status;
    this.code = code;
    this.errors = errors;
  }
}

/** The address of an endpoint, relative to the page: a proxy may serve both under a path. */
export function endpoint(path, query = new URLSearchParams()) {
  const written = String(query);
  return new URL(written ? `${path}?${written}` : path, document.baseURI);
}

/** The JSON that an endpoint answers with. */
export async function get(path, query, signal) {
  return (await respond(endpoint(path, query), {}, deadline(signal))).json();
}

/** The JSON that an endpoint answers a body with. */
export async function post(path, body, signal) {
  const request = { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
  return (await respond(endpoint(path), request, deadline(signal))).json();
}

/** The response itself, for what is a stream or no JSON; it has no deadline but the signal. */
export async function open(path, query, signal) {
  return respond(endpoint(path, query), {}, signal);
}

function deadline(signal) {
  const limit = AbortSignal.timeout(DEADLINE_MS);
  return signal ? AbortSignal.any([signal, limit]) : limit;
}

async function respond(url, request, signal) {
  for (;;) {
    const response = await sent(url, request, signal);
    if (response.ok) return response;
    const problem = await problemOf(response);
    if (problem.status !== 401) throw problem;
    const reason = hasToken() ? "The server does not know the token that you gave" : "It shows each experiment to its own tokens";
    forget();
    if (!(await ask(reason))) throw problem;
  }
}

async function sent(url, request, signal) {
  try {
    return await fetch(url, { ...request, headers: { ...request.headers, ...authorization() }, signal, cache: "no-store" });
  } catch (error) {
    if (error.name === "TimeoutError") throw new Problem(0, `The server did not answer within ${DEADLINE_MS / 1000} s.`);
    if (error.name === "AbortError") throw error;
    throw new Problem(0, "The server does not answer. It may be restarting.");
  }
}

async function problemOf(response) {
  try {
    const body = await response.json();
    return new Problem(response.status, body.detail ?? body.title ?? response.statusText, body);
  } catch {
    return new Problem(response.status, `The server answered ${response.status}.`);
  }
}
