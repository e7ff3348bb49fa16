// Numbers, sizes and times in the way of the browser's locale.

/** Formats with what `make` makes when that is first needed: each costs a millisecond or more. */
function lazy(make) {
  let made = null;
  return (...values) => (made ??= make()).format(...values);
}

const unit = (name, options) => lazy(() => new Intl.NumberFormat(undefined, { style: "unit", unit: name, unitDisplay: "short", ...options }));
const dated = (options) => lazy(() => new Intl.DateTimeFormat(undefined, options));

const number = lazy(() => new Intl.NumberFormat());
const hour = dated({ timeStyle: "short" });
const day = dated({ dateStyle: "medium" });
const full = dated({ dateStyle: "full", timeStyle: "medium" });
const relative = lazy(() => new Intl.RelativeTimeFormat(undefined, { numeric: "auto", style: "short" }));
const sizes = ["byte", "kilobyte", "megabyte", "gigabyte", "terabyte", "petabyte"]
  .map((name, power) => unit(name, { maximumFractionDigits: power < 2 ? 0 : 1 }));
const spans = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]].map(([name, seconds]) => [seconds, unit(name)]);
const [millisecond, shortMillisecond] = [0, 1].map((maximumFractionDigits) => unit("millisecond", { maximumFractionDigits }));

/** A name as it can be read: line breaks and other controls as their pictures, and what would turn
 *  the text around, so that gpj.exe looks like a picture, as a sign that there is something. */
export const name = (text) => text
  .replace(/[\0-\x1f\x7f]/g, (control) => (control === "\x7f" ? "\u2421" : String.fromCharCode(0x2400 + control.charCodeAt(0))))
  .replace(/[\u202a-\u202e\u2066-\u2069]/g, "\ufffd");

/** A name within a sentence, whose direction it leaves alone. */
export const within = (text) => `\u2068${name(text)}\u2069`;

/** 12,345 */
export const count = (value) => number(value);

/** 4.2 MB; powers of 1000, as disks are sold and as Intl names them. */
export function size(bytes) {
  let power = 0;
  while (power < sizes.length - 1 && bytes >= 999.5) {
    bytes /= 1000;
    power += 1;
  }
  return sizes[power](bytes);
}

/** Disks hold times that no calendar does. */
const valid = (seconds) => Number.isFinite(seconds) && Math.abs(seconds) < 8.64e12;

/** For machines; empty for what is no date. */
export const iso = (seconds) => (valid(seconds) ? new Date(seconds * 1000).toISOString() : "");

/** The time of day of what happened today; the date of what is older. */
export const moment = (seconds) => (Date.now() / 1000 - seconds < 43_200 ? hour : day)(seconds * 1000);

/** The date and time of a Unix time in seconds, in full. */
export const date = (seconds) => (valid(seconds) ? full(seconds * 1000) : "");

/** Short for a list: "5 min. ago" within the hour, then the time of today, then the date. */
export function when(seconds, now = Date.now() / 1000) {
  if (!valid(seconds)) return "";
  const ago = now - seconds;
  // Seconds would be wrong a moment later.
  if (ago >= -5 && ago < 60) return relative(0, "second");
  if (ago >= 0 && ago < 3600) return relative(-Math.floor(ago / 60), "minute");
  if (ago >= 0 && ago < 43_200) return hour(seconds * 1000);
  return day(seconds * 1000);
}

/** 1 hr, 5 min: the two largest parts of a duration in seconds. */
export function duration(seconds) {
  let left = Math.max(0, Math.round(seconds));
  const parts = [];
  for (const [length, format] of spans) {
    const whole = Math.floor(left / length);
    if (whole > 0 || (length === 1 && parts.length === 0)) parts.push(format(whole));
    left -= whole * length;
    if (parts.length === 2) break;
  }
  return parts.join(" ");
}

/** 0.4 ms, 12 ms */
export const millis = (value) => (value < 10 ? shortMillisecond : millisecond)(value);

/** How long something took: 12 ms, 3 sec, 2 min 5 sec. */
export const took = (ms) => (ms < 1000 ? millis(ms) : duration(ms / 1000));
