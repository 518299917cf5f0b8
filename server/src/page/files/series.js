// The data of the chosen series: buckets for numbers, rows for everything else. It is fetched for the
// window that is in view, one bucket a pixel, and never row by row for numbers.

import { aggregate, newest, rowsPerAnswer } from './api.js';
import { printable } from './format.js';
import { bucket } from './view.js';

/** The newest so many rows of a text or an object are drawn. */
export const MOST_ROWS = 1000;
const MOST_MEMBERS = 4;

/** Which series a record has: the members that are numbers, or the value as it is. */
export async function seriesOf(record) {
  const [row] = await newest(record, 1);
  if (!row) return [];
  const { value } = row;
  const isNumber = (candidate) => typeof candidate === 'number';
  if (isNumber(value) || typeof value === 'boolean') return [{ kind: isNumber(value) ? 'n' : 't', member: '', record }];
  if (value === null || typeof value !== 'object' || Array.isArray(value)) return [{ kind: 't', member: '', record }];
  const names = Object.keys(value);
  const numbers = names.filter((name) => isNumber(value[name]));
  const texts = names.filter((name) => ['string', 'boolean'].includes(typeof value[name]));
  const chosen = [
    ...numbers.slice(0, MOST_MEMBERS).map((name) => ({ kind: 'n', member: name, record })),
    ...texts.slice(0, MOST_MEMBERS).map((name) => ({ kind: 't', member: name, record })),
  ];
  // A name that begins with a slash would be a JSON Pointer.
  const plain = chosen.filter(({ member }) => member !== '' && !member.startsWith('/'));
  return plain.length > 0 ? plain : [{ kind: 't', member: '', record }];
}

/** The name of a series as it is shown. */
export const title = ({ member, record }) => printable(member === '' ? record : `${record} ${member}`);

export const key = ({ kind, member, record }) => JSON.stringify([kind, member, record]);

export class Data {
  constructor() {
    this.all = new Map();
  }

  /** What is known of a series: {every, from, to, buckets} or {rows, isPart}. */
  get(series) { return this.all.get(key(series)); }

  keep(wanted) {
    const keys = new Set(wanted.map(key));
    for (const known of this.all.keys()) if (!keys.has(known)) this.all.delete(known);
  }

  clear() { this.all.clear(); }

  /** Fetches what the window needs of one series; with `onlyTail` only what is new at its end. */
  async load(series, { from, to }, pixels, signal, onlyTail = false) {
    const known = this.get(series);
    // A window touches up to two buckets more than fit into it.
    const limit = rowsPerAnswer();
    const every = bucket(from, to, Math.min(pixels, limit - 2));
    if (series.kind === 't') return this.loadRows(series, { from, to }, signal);
    const isTail = onlyTail && known && known.every === every && known.buckets.length > 0;
    // The last bucket was not complete, nor perhaps the one before it.
    const since = isTail ? Math.max(known.to - 2 * every, from) : from;
    const aligned = Math.max(Math.floor(since / every) * every, 0);
    const fresh = await aggregate(series.record, series.member, aligned, Math.ceil(to), every, signal);
    // The first answer tells the limit: an answer that it has cut off would be drawn as if it were all.
    if (rowsPerAnswer() < limit) return this.load(series, { from, to }, pixels, signal);
    const old = isTail ? known.buckets.filter(({ start, end }) => start < aligned && end > from) : [];
    this.all.set(key(series), { every, from, to, buckets: [...old, ...fresh.filter(({ mean }) => Number.isFinite(mean))] });
    return undefined;
  }

  async loadRows(series, { from, to }, signal) {
    const most = () => Math.min(MOST_ROWS, rowsPerAnswer());
    const [rows, before] = await Promise.all([
      newest(series.record, MOST_ROWS, Math.floor(from), Math.ceil(to), signal),
      newest(series.record, 1, undefined, Math.max(Math.floor(from) - 1, 0), signal),
    ]);
    const isPart = rows.length >= most();
    const all = (isPart ? rows : [...rows, ...before]).reverse();
    const of = ({ value, stored_at: at }) => ({ at, value: series.member === '' ? value : value?.[series.member] });
    this.all.set(key(series), { rows: all.map(of).filter(({ value }) => value !== undefined), isPart });
  }
}

/** The bucket or row that stands at a time, or undefined. */
export function at(data, time) {
  if (!data) return undefined;
  const list = data.buckets ?? data.rows;
  const start = (entry) => entry.start ?? entry.at;
  let [low, high] = [0, list.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (start(list[middle]) <= time) low = middle + 1;
    else high = middle;
  }
  return list[low - 1];
}

/** Mean, min and max over the buckets in the window that have rows. */
export function summary(data) {
  let [rows, sum, min, max] = [0, 0, Infinity, -Infinity];
  for (const entry of data?.buckets ?? []) {
    if (entry.filled || entry.count === 0) continue;
    rows += entry.count;
    sum += entry.mean * entry.count;
    min = Math.min(min, entry.min);
    max = Math.max(max, entry.max);
  }
  return rows === 0 ? undefined : { rows, mean: sum / rows, min, max };
}
