/** Numbers, sizes and times as text. A missing value is a dash. */

export const NONE = "–";

/** A figure with a fixed number of digits. */
export function decimal(value, digits = 3) {
  if (value === null || value === undefined) return NONE;
  const written = value.toFixed(digits);
  return Number(written) === 0 ? (0).toFixed(digits) : written.replace("-", "−");
}

/** A difference, with its sign. */
export function signed(value, digits = 3) {
  const written = decimal(value, digits);
  return value > 0 && Number(written) !== 0 ? `+${written}` : written;
}

/** A count, in full up to a million. */
export function count(value) {
  if (value === null || value === undefined) return NONE;
  if (value >= 1e6) return `${(value / 1e6).toPrecision(3)} M`;
  return Math.round(value).toLocaleString("en");
}

/** A number of things, with their name. */
export function many(value, thing) {
  return `${count(value)} ${thing}${value === 1 ? "" : "s"}`;
}

/** A size in bytes, in binary units. */
export function size(bytes) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  let left = bytes;
  while (left >= 1024 && unit < units.length - 1) {
    left /= 1024;
    unit += 1;
  }
  return `${left < 10 && unit > 0 ? left.toFixed(1) : Math.round(left)} ${units[unit]}`;
}

/** How long ago a time was, in seconds since 1970. */
export function ago(time_s) {
  const seconds = Math.max(0, Date.now() / 1000 - time_s);
  if (seconds < 5) return "now";
  for (const [unit, length] of [["day", 86400], ["hour", 3600], ["min", 60], ["s", 1]]) {
    const whole = Math.floor(seconds / length);
    if (whole >= 1) return `${whole} ${unit}${whole > 1 && length >= 3600 ? "s" : ""} ago`;
  }
  return "now";
}

/** A time of day, with its date if that is another day. */
export function clock(time_s) {
  const time = new Date(1000 * time_s);
  const hours = [time.getHours(), time.getMinutes(), time.getSeconds()].map((part) => String(part).padStart(2, "0")).join(":");
  if (time.toDateString() === new Date().toDateString()) return hours;
  return `${time.getFullYear()}-${String(time.getMonth() + 1).padStart(2, "0")}-${String(time.getDate()).padStart(2, "0")} ${hours}`;
}

/** Numbers rounded to `digits` so that they still add up to the rounded total: the largest remainders are rounded up. */
export function apportioned(parts, total, digits = 4) {
  const unit = 10 ** digits;
  const whole = parts.map((part) => Math.floor(part * unit));
  const order = parts.map((part, index) => [part * unit - whole[index], index]).sort((a, b) => b[0] - a[0] || a[1] - b[1]);
  let left = Math.round(total * unit) - whole.reduce((sum, part) => sum + part, 0);
  for (let turn = 0; left !== 0 && turn < 2 * order.length; turn += 1) {
    const step = Math.sign(left);
    whole[order[(step > 0 ? turn : order.length - 1 - (turn % order.length)) % order.length][1]] += step;
    left -= step;
  }
  return whole.map((part) => part / unit);
}
