// Numbers, sizes and times in the way of the browser's locale.

const number = new Intl.NumberFormat();
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const hour = new Intl.DateTimeFormat(undefined, { timeStyle: "short" });
const day = new Intl.DateTimeFormat(undefined, { dateStyle: "medium" });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" });
const relative = new Intl.RelativeTimeFormat(undefined, { numeric: "auto", style: "short" });
const units = ["byte", "kilobyte", "megabyte", "gigabyte", "terabyte", "petabyte"];
const sizes = units.map((unit, power) => new Intl.NumberFormat(undefined, {
  style: "unit", unit, unitDisplay: "short", maximumFractionDigits: power < 2 ? 0 : 1,
}));
const spans = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]].map(([unit, seconds]) => [
  seconds,
  new Intl.NumberFormat(undefined, { style: "unit", unit, unitDisplay: "short" }),
]);

/** 12,345 */
export const count = (value) => number.format(value);

/** 4.2 MB; powers of 1000, as disks are sold and as Intl names them. */
export function size(bytes) {
  let power = 0;
  while (power < units.length - 1 && bytes >= 999.5) {
    bytes /= 1000;
    power += 1;
  }
  return sizes[power].format(bytes);
}

/** Disks hold times that no calendar does. */
const valid = (seconds) => Number.isFinite(seconds) && Math.abs(seconds) < 8.64e12;

/** For machines; empty for what is no date. */
export const iso = (seconds) => (valid(seconds) ? new Date(seconds * 1000).toISOString() : "");

const time = (seconds) => clock.format(seconds * 1000);

/** The time of day to the second, of what happened today; the date of what is older. */
export const moment = (seconds) => (Date.now() / 1000 - seconds < 43_200 ? time(seconds) : when(seconds));

/** The date and time of a Unix time in seconds, in full. */
export const date = (seconds) => (valid(seconds) ? full.format(seconds * 1000) : "");

/** Short for a list: "5 min. ago" within the hour, then the time of today, then the date. */
export function when(seconds, now = Date.now() / 1000) {
  if (!valid(seconds)) return "";
  const ago = now - seconds;
  // Seconds would be wrong a moment later.
  if (ago >= -5 && ago < 60) return relative.format(0, "second");
  if (ago >= 0 && ago < 3600) return relative.format(-Math.floor(ago / 60), "minute");
  if (ago >= 0 && ago < 43_200) return hour.format(seconds * 1000);
  return day.format(seconds * 1000);
}

/** 1 hr, 5 min: the two largest parts of a duration in seconds. */
export function duration(seconds) {
  let left = Math.max(0, Math.round(seconds));
  const parts = [];
  for (const [length, format] of spans) {
    const whole = Math.floor(left / length);
    if (whole > 0 || (length === 1 && parts.length === 0)) parts.push(format.format(whole));
    left -= whole * length;
    if (parts.length === 2) break;
  }
  return parts.join(" ");
}

/** 12 ms, 0.4 ms */
export const millis = (value) =>
  new Intl.NumberFormat(undefined, { style: "unit", unit: "millisecond", maximumFractionDigits: value < 10 ? 1 : 0 }).format(value);
