// Draws on a canvas: a chart of buckets (band from min to max, line of means), and bands of states.

import { number, scale, text, ticks } from './format.js';

const MARGIN = { left: 62, right: 10, top: 8, bottom: 22 };

/** The colours of the page as it is now, light or dark. */
export function theme() {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  return {
    back: colour('--back'), text: colour('--text'), quiet: colour('--quiet'), line: colour('--line'),
    grid: colour('--grid'), accent: colour('--accent'),
    series: Array.from({ length: 8 }, (_, index) => colour(`--s${index}`)),
  };
}

/** Makes a canvas as large as it is shown, and returns its context and size. */
export function fit(canvas) {
  const ratio = window.devicePixelRatio || 1;
  const { clientWidth: width, clientHeight: height } = canvas;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  const context = canvas.getContext('2d');
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  return { context, width, height };
}

/** How many pixels of a width are for data. */
export const pixels = (width) => Math.max(Math.floor(width - MARGIN.left - MARGIN.right), 1);

/** The time below a horizontal position, and the other way round. */
export const timeAt = (x, width, { from, to }) => from + ((x - MARGIN.left) / pixels(width)) * (to - from);
const place = (time, width, { from, to }) => MARGIN.left + ((time - from) / (to - from)) * pixels(width);

function frame(context, width, height, view, colours) {
  context.fillStyle = colours.back;
  context.fillRect(0, 0, width, height);
  context.font = '12px system-ui, sans-serif';
  context.textBaseline = 'middle';
  context.lineWidth = 1;
  const bottom = height - MARGIN.bottom;
  context.textAlign = 'center';
  let free = -Infinity;
  for (const { at, text: label } of ticks(view.from, view.to, pixels(width) / 90)) {
    const x = Math.round(place(at, width, view)) + 0.5;
    context.strokeStyle = colours.grid;
    context.beginPath();
    context.moveTo(x, MARGIN.top);
    context.lineTo(x, bottom);
    context.stroke();
    const half = context.measureText(label).width / 2;
    if (x - half < free || x + half > width) continue;
    free = x + half + 8;
    context.fillStyle = colours.quiet;
    context.fillText(label, x, height - MARGIN.bottom / 2 + 2);
  }
}

/** Draws a chart. `series`: [{data, colour}]; `cursor` is a time, `selection` a pair of times. */
export function chart(target, view, series, colours, { cursor, selection } = {}) {
  const isKnown = series.every(({ data }) => data !== undefined);
  const { context, width, height } = target;
  frame(context, width, height, view, colours);
  const bottom = height - MARGIN.bottom;
  let [low, high] = [Infinity, -Infinity];
  for (const { data } of series) {
    for (const bucket of data?.buckets ?? []) {
      if (bucket.end <= view.from || bucket.start >= view.to) continue;
      low = Math.min(low, bucket.min);
      high = Math.max(high, bucket.max);
    }
  }
  context.textAlign = 'right';
  if (low > high) {
    context.textAlign = 'center';
    context.fillStyle = colours.quiet;
    context.fillText(isKnown ? 'no values in this window' : 'loading …', MARGIN.left + pixels(width) / 2, bottom / 2);
    return;
  }
  const axis = scale(low, high, (bottom - MARGIN.top) / 40);
  const y = (value) => bottom - ((value - axis.low) / (axis.high - axis.low)) * (bottom - MARGIN.top);
  for (const value of axis.values) {
    const line = Math.round(y(value)) + 0.5;
    context.strokeStyle = colours.grid;
    context.beginPath();
    context.moveTo(MARGIN.left, line);
    context.lineTo(width - MARGIN.right, line);
    context.stroke();
    context.fillStyle = colours.quiet;
    context.fillText(number(Math.abs(value) < Math.abs(axis.high - axis.low) * 1e-9 ? 0 : value), MARGIN.left - 7, line);
  }
  context.save();
  context.beginPath();
  context.rect(MARGIN.left, MARGIN.top - 2, pixels(width), bottom - MARGIN.top + 4);
  context.clip();
  for (const { data, colour } of series) draw(context, data?.buckets ?? [], view, width, y, colour);
  context.restore();
  if (selection) shade(context, selection, view, width, bottom, colours);
  if (cursor !== undefined) mark(context, cursor, view, width, bottom, colours);
}

function draw(context, buckets, view, width, y, colour) {
  context.strokeStyle = colour;
  context.fillStyle = colour;
  context.lineJoin = 'round';
  const middle = ({ start, end }) => place((start + Math.min(end, view.to)) / 2, width, view);
  // The band, one rectangle a bucket: neighbours join.
  context.globalAlpha = 0.25;
  for (const bucket of buckets) {
    if (bucket.filled || bucket.min === bucket.max) continue;
    const left = place(bucket.start, width, view);
    const right = Math.max(place(bucket.end, width, view), left + 1);
    context.fillRect(left, y(bucket.max), right - left, y(bucket.min) - y(bucket.max));
  }
  context.globalAlpha = 1;
  // Lines through values. One that stands until the next is a step, dashed where it stands for longer
  // than usual: values may be missing there.
  const isLong = longGaps(buckets);
  for (const isDashed of [false, true]) {
    context.beginPath();
    context.setLineDash(isDashed ? [3, 4] : []);
    context.lineWidth = isDashed ? 1 : 1.6;
    let joined = -1;
    for (let index = 1; index < buckets.length; index += 1) {
      const [one, other] = [buckets[index - 1], buckets[index]];
      if (one.end !== other.start || (isLong[index - 1] || isLong[index]) !== isDashed) continue;
      if (joined !== index - 1) context.moveTo(middle(one), y(one.mean));
      if (one.filled || other.filled) context.lineTo(middle(other), y(one.mean));
      if (!other.filled) context.lineTo(middle(other), y(other.mean));
      joined = index;
    }
    context.stroke();
  }
  context.setLineDash([]);
  // A value between two without: a line would not show it.
  for (let index = 0; index < buckets.length; index += 1) {
    const bucket = buckets[index];
    const joins = (at) => buckets[at] && !isLong[at]
      && (buckets[at].end === bucket.start || buckets[at].start === bucket.end);
    if (bucket.filled || joins(index - 1) || joins(index + 1)) continue;
    context.beginPath();
    context.arc(middle(bucket), y(bucket.mean), 2.2, 0, 7);
    context.fill();
  }
}

/** For each bucket, whether it is part of a run without rows that is longer than three usual ones. */
function longGaps(buckets) {
  const runs = [];
  for (let index = 0; index < buckets.length; index += 1) {
    if (!buckets[index].filled) continue;
    const begin = index;
    while (buckets[index + 1]?.filled) index += 1;
    runs.push([begin, index]);
  }
  const rows = buckets.filter(({ filled }) => !filled).length;
  // A value from before the window, which still stands.
  if (rows === 0) return new Array(buckets.length).fill(true);
  // The usual distance of two values, in buckets: most values have none between where runs are few.
  const lengths = runs.map(([begin, end]) => end - begin + 1).sort((one, other) => one - other);
  const usual = runs.length * 2 > rows ? lengths[lengths.length >> 1] : 0;
  const isLong = new Array(buckets.length).fill(false);
  for (const [begin, end] of runs) {
    if (end - begin + 1 > 3 * usual) isLong.fill(true, begin, end + 1);
  }
  return isLong;
}

function shade(context, [one, other], view, width, bottom, colours) {
  const [left, right] = [place(Math.min(one, other), width, view), place(Math.max(one, other), width, view)];
  context.globalAlpha = 0.2;
  context.fillStyle = colours.accent;
  context.fillRect(left, MARGIN.top, right - left, bottom - MARGIN.top);
  context.globalAlpha = 1;
}

function mark(context, cursor, view, width, bottom, colours) {
  const x = Math.round(place(cursor, width, view)) + 0.5;
  if (x < MARGIN.left || x > width - MARGIN.right) return;
  context.strokeStyle = colours.text;
  context.globalAlpha = 0.6;
  context.beginPath();
  context.moveTo(x, MARGIN.top);
  context.lineTo(x, bottom);
  context.stroke();
  context.globalAlpha = 1;
}

/** Colours for states, by text. The same text has the same one everywhere, unless another state of the band has it. */
export function stateColours(states, colours) {
  const chosen = new Map();
  const free = new Set(colours.series);
  for (const state of [...new Set(states)].sort()) {
    let hash = 7;
    for (const letter of state) hash = (hash * 31 + letter.codePointAt(0)) >>> 0;
    const wanted = colours.series[hash % colours.series.length];
    const colour = free.size === 0 || free.has(wanted) ? wanted : free.values().next().value;
    free.delete(colour);
    chosen.set(state, colour);
  }
  return chosen;
}

/** Draws the states of one series as a band. Each stands until the next, the window's end or `now`. */
export function band(target, view, data, colours, now, { cursor, selection } = {}) {
  const { context, width, height } = target;
  frame(context, width, height, view, colours);
  const bottom = height - MARGIN.bottom;
  const rows = data?.rows ?? [];
  const colourOf = stateColours(rows.map(({ value }) => text(value, 60)), colours);
  context.textAlign = 'left';
  context.save();
  context.beginPath();
  context.rect(MARGIN.left, 0, pixels(width), bottom);
  context.clip();
  for (let index = 0; index < rows.length; index += 1) {
    const start = rows[index].at;
    const value = text(rows[index].value, 60);
    while (index + 1 < rows.length && text(rows[index + 1].value, 60) === value) index += 1;
    const end = Math.min(rows[index + 1]?.at ?? Math.max(now, start), view.to);
    if (end < view.from || start > view.to) continue;
    const left = Math.max(place(start, width, view), MARGIN.left);
    const right = Math.max(place(end, width, view), left + 1);
    context.fillStyle = colourOf.get(value);
    context.fillRect(left, 2, right - left, bottom - 4);
    if (right - left > 26) {
      context.save();
      context.beginPath();
      context.rect(left, 0, right - left - 3, bottom);
      context.clip();
      context.fillStyle = colours.back;
      context.fillText(value, left + 5, bottom / 2);
      context.restore();
    }
  }
  context.restore();
  if (selection) shade(context, selection, view, width, bottom, colours);
  if (cursor !== undefined) mark(context, cursor, view, width, bottom, colours);
}
