// Numbers, times and texts as people read them.

const plain = new Intl.NumberFormat(undefined, { maximumSignificantDigits: 6 });
const short = new Intl.NumberFormat(undefined, { maximumSignificantDigits: 4 });
const shorter = new Intl.NumberFormat(undefined, { maximumSignificantDigits: 3 });
const scientific = new Intl.NumberFormat(undefined, { notation: 'scientific', maximumSignificantDigits: 4 });

// SI prefixes. The compact notation of `Intl` has B for billions, which reads as bytes.
const LARGE = [[1e12, 'T'], [1e9, 'G'], [1e6, 'M']];

export function number(value) {
  if (value === undefined || value === null) return '';
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-4 || size >= 1e15)) return scientific.format(value);
  if (size < 1e6) return plain.format(value);
  // 999,999,999 is 1G, not 1,000M.
  const rounded = Number(value.toPrecision(4));
  const [unit, prefix] = LARGE.find(([candidate]) => Math.abs(rounded) >= candidate);
  return `${short.format(rounded / unit)}${prefix}`;
}

export const count = (value) => value.toLocaleString();

/** A number of things: "1 record", "2 records". */
export const counted = (value, noun) => `${count(value)} ${noun}${value === 1 ? '' : 's'}`;

const BINARY = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

/** A number of bytes, in at most three digits. */
export function bytes(value) {
  const power = BINARY.findIndex((_, index) => value / 1024 ** index < 999.5);
  return `${shorter.format(value / 1024 ** power)} ${BINARY[power]}`;
}

const two = (value) => String(value).padStart(2, '0');

/** Local time, as exact as a span of `span` milliseconds needs. */
export function time(millis, span = 0) {
  const date = new Date(millis);
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  const clock = `${two(date.getHours())}:${two(date.getMinutes())}`;
  if (span > 400 * 864e5) return day;
  if (span > 2 * 36e5) return `${day} ${clock}`;
  const seconds = `${day} ${clock}:${two(date.getSeconds())}`;
  return span > 2e4 ? seconds : `${seconds}.${String(date.getMilliseconds()).padStart(3, '0')}`;
}

const STEPS = [1, 5, 10, 50, 100, 500, 1e3, 5e3, 15e3, 30e3, 6e4, 3e5, 9e5, 18e5, 36e5, 108e5, 216e5, 432e5,
  864e5, 1728e5, 6048e5];

/** Times for the axis between `from` and `to`, at most about `most`: {at, text}. */
export function ticks(from, to, most) {
  const wanted = (to - from) / Math.max(most, 1);
  const step = STEPS.find((candidate) => candidate >= wanted);
  const found = [];
  if (step === undefined) {
    const months = [1, 3, 6, 12, 24, 60, 120, 600].find((candidate) => candidate * 2.63e9 >= wanted) ?? 1200;
    const date = new Date(from);
    date.setHours(0, 0, 0, 0);
    date.setDate(1);
    date.setMonth(Math.floor(date.getMonth() / months) * months);
    while (date.getTime() <= to) {
      const text = months < 12 ? `${date.getFullYear()}-${two(date.getMonth() + 1)}` : String(date.getFullYear());
      if (date.getTime() >= from) found.push({ at: date.getTime(), text });
      date.setMonth(date.getMonth() + months);
    }
    return found;
  }
  if (step >= 864e5) {
    const date = new Date(from);
    date.setHours(0, 0, 0, 0);
    while (date.getTime() <= to) {
      if (date.getTime() >= from) found.push({ at: date.getTime(), text: `${two(date.getMonth() + 1)}-${two(date.getDate())}` });
      date.setDate(date.getDate() + step / 864e5);
    }
    return found;
  }
  const offset = new Date(from).getTimezoneOffset() * 6e4;
  for (let at = Math.ceil((from - offset) / step) * step + offset; at <= to; at += step) {
    const date = new Date(at);
    let text = `${two(date.getHours())}:${two(date.getMinutes())}`;
    if (step < 6e4) text += `:${two(date.getSeconds())}`;
    if (step < 1e3) text += `.${String(date.getMilliseconds()).padStart(3, '0')}`;
    const midnight = date.getHours() === 0 && date.getMinutes() === 0 && step >= 6e4;
    found.push({ at, text: midnight ? `${two(date.getMonth() + 1)}-${two(date.getDate())}` : text });
  }
  return found;
}

/** Round numbers for the value axis. */
export function scale(low, high, most) {
  if (!(low < high)) {
    const around = Math.abs(low) || 1;
    [low, high] = [low - around * 0.05, high + around * 0.05];
  }
  const wanted = (high - low) / Math.max(most, 1);
  const power = 10 ** Math.floor(Math.log10(wanted));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= wanted) ?? wanted;
  const first = Math.floor(low / step);
  const last = Math.ceil(high / step);
  const values = [];
  for (let index = first; index <= last; index += 1) values.push(index * step);
  return { low: first * step, high: last * step, values };
}

// Control characters, and those that change lines or the direction of what follows.
const INVISIBLE = /[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu;

/** A text with its invisible characters escaped, such as `\u0007`. It is text, not HTML. */
export const printable = (given) => given.replace(INVISIBLE,
  (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`);

/** A JSON value in one line of at most `most` characters. */
export function text(value, most = 120) {
  const line = printable(typeof value === 'string' ? value : JSON.stringify(value));
  return line.length > most ? `${line.slice(0, most - 1)}…` : line;
}
