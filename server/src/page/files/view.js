// What is looked at: the time range and the series. It lives in the URL, so that it can be shared.

export const RANGES = [
  ['15 m', '15m', 9e5], ['1 h', '1h', 36e5], ['6 h', '6h', 216e5], ['24 h', '24h', 864e5],
  ['7 d', '7d', 6048e5], ['30 d', '30d', 2592e6], ['1 y', '1y', 31536e6], ['All', 'all', Infinity],
];
const SHORTEST = 10;
export const MOST_SERIES = 24;

/** A view: `range` is the name of a range that ends now, or undefined where `from` and `to` are fixed. */
export function read(hash) {
  const given = new URLSearchParams(hash.replace(/^#/, ''));
  const from = Number(given.get('from'));
  const to = Number(given.get('to'));
  const isFixed = given.has('from') && Number.isFinite(from) && Number.isFinite(to) && from < to;
  const range = RANGES.some(([, name]) => name === given.get('range')) ? given.get('range') : '1h';
  const series = [];
  for (const text of given.getAll('s').slice(0, MOST_SERIES)) {
    // kind : member : record; a member has its colons encoded.
    const [kind, member, ...record] = text.split(':');
    if ((kind === 'n' || kind === 't') && record.length > 0) {
      series.push({ kind, member: unescapeMember(member), record: record.join(':') });
    }
  }
  const live = given.get('live') !== '0';
  return isFixed ? { from, to, series, live } : { range, series, live };
}

const escapeMember = (member) => member.replaceAll('%', '%25').replaceAll(':', '%3A');
const unescapeMember = (member) => member.replaceAll('%3A', ':').replaceAll('%25', '%');

export function write(view) {
  const parts = new URLSearchParams();
  if (view.range) parts.set('range', view.range);
  else {
    parts.set('from', Math.round(view.from));
    parts.set('to', Math.round(view.to));
  }
  if (!view.live) parts.set('live', '0');
  for (const { kind, member, record } of view.series) parts.append('s', `${kind}:${escapeMember(member)}:${record}`);
  return `#${parts}`;
}

/** The window of a view in Unix milliseconds. `extent` is from the first to the last row of all. */
export function resolve(view, now, extent) {
  if (!view.range) return { from: view.from, to: view.to };
  if (view.range === 'all') {
    const { first, last } = extent;
    return first < Infinity ? { from: first, to: Math.max(last + 1, first + SHORTEST) } : { from: now - 36e5, to: now };
  }
  const [, , span] = RANGES.find(([, name]) => name === view.range);
  return { from: now - span, to: now };
}

/** The window around a part of it, never shorter than some milliseconds and never before 1970. */
export function zoomed(from, to) {
  const middle = (from + to) / 2;
  const half = Math.max((to - from) / 2, SHORTEST / 2);
  return { from: Math.max(Math.floor(middle - half), 0), to: Math.ceil(middle + half) };
}

/** How wide a bucket is, so that there is one per pixel or fewer. */
export function bucket(from, to, pixels) {
  const wanted = Math.max((to - from) / Math.max(pixels, 1), 1);
  for (let unit = 1; ; unit *= 10) {
    for (const factor of [1, 2, 5]) {
      if (unit * factor >= wanted) return unit * factor;
    }
  }
}
