/** What the ledger reports while the page is open. Only a visible page listens: a browser allows few connections per server. */
import { open } from "./api.js";

const RETRY_MS = [1000, 2000, 5000, 10_000];
const SILENCE_MS = 45_000;

/**
 * Calls `onGroups` for each commit of new groups until `signal` ends it, and `onState` with `live`, `reading`, `paused` or `off`.
 * A ledger that the server does not record is `reading` until another server's groups come.
 */
export async function follow({ run = "", signal, onGroups, onState = () => {}, isRecording }) {
  let failures = 0;
  let isLive = isRecording;
  let hasBeen = false;
  while (!signal.aborted) {
    await becomesVisible(signal);
    try {
      const query = new URLSearchParams(run ? { run } : {});
      const arrived = (event) => {
        if (!isLive) onState("live");
        isLive = true;
        onGroups(event);
      };
      await listen(query, signal, arrived, () => {
        failures = 0;
        onState(isLive ? "live" : "reading");
        if (hasBeen) onGroups({ run, groups: 0, isCatchUp: true });
        hasBeen = true;
      });
    } catch (error) {
      if (signal.aborted) return;
      if (error.status >= 400 && error.status < 500 && error.status !== 429) return onState("off");
      failures += 1;
    }
    if (signal.aborted) return;
    onState("paused");
    if (!document.hidden) await pause(RETRY_MS[Math.min(failures, RETRY_MS.length - 1)], signal);
  }
}

async function listen(query, signal, onGroups, onOpen) {
  const ending = new AbortController();
  const stop = () => ending.abort();
  const onHide = () => document.hidden && stop();
  signal.addEventListener("abort", stop);
  document.addEventListener("visibilitychange", onHide);
  let watch = setTimeout(stop, SILENCE_MS);
  try {
    const response = await open("ledger/events", query, ending.signal);
    onOpen();
    let pending = "";
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      clearTimeout(watch);
      watch = setTimeout(stop, SILENCE_MS);
      const parts = (pending + value).split(/\r?\n\r?\n/);
      pending = parts.pop();
      for (const part of parts) read(part, onGroups);
    }
  } catch (error) {
    if (error.name !== "AbortError") throw error;
  } finally {
    clearTimeout(watch);
    signal.removeEventListener("abort", stop);
    document.removeEventListener("visibilitychange", onHide);
    stop();
  }
}

function read(part, onGroups) {
  const lines = part.split(/\r?\n/);
  const kind = lines.find((line) => line.startsWith("event:"))?.slice(6).trim();
  const data = lines.filter((line) => line.startsWith("data:")).map((line) => line.slice(5).trim()).join("\n");
  if (kind === "groups" && data) onGroups(JSON.parse(data));
}

function becomesVisible(signal) {
  if (!document.hidden) return Promise.resolve();
  return new Promise((resolve) => {
    const check = () => {
      if (document.hidden && !signal.aborted) return;
      document.removeEventListener("visibilitychange", check);
      resolve();
    };
    document.addEventListener("visibilitychange", check);
    signal.addEventListener("abort", check, { once: true });
  });
}

function pause(ms, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
  });
}

/** A function that calls `work` at most once per `ms`, and once more after the last call. */
export function throttled(work, ms, signal) {
  let timer = null;
  let isDue = false;
  const run = () => {
    timer = null;
    if (!isDue || signal.aborted) return;
    isDue = false;
    timer = setTimeout(run, ms);
    work();
  };
  return () => {
    isDue = true;
    if (timer === null) run();
  };
}
