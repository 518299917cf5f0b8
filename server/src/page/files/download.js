// What is shown as a file.

import { text } from './format.js';
import { key, title as titleOf } from './series.js';

function save(name, blob) {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1e4);
}

/** Everything that is drawn: one entry a bucket or row. */
export function entries(series, data, { from, to }) {
  const all = [];
  for (const one of series) {
    const known = data.get(one);
    const { record, member } = one;
    for (const { start, end, count, mean, min, max, last, filled } of known?.buckets ?? []) {
      if (!filled && end > from && start < to) all.push({ record, member, start, end, count, mean, min, max, last });
    }
    for (const { at, value } of known?.rows ?? []) {
      if (at <= to) all.push({ record, member, start: at, value });
    }
  }
  return all;
}

/** A cell of CSV. A text that a spreadsheet would take for a formula begins with an apostrophe. */
function cell(value) {
  if (value === undefined) return '';
  if (typeof value === 'number') return String(value);
  let content = typeof value === 'string' ? value : JSON.stringify(value);
  if (/^[=+\-@\t\r]/.test(content)) content = `'${content}`;
  return /[",\n\r]/.test(content) ? `"${content.replaceAll('"', '""')}"` : content;
}

export function csv(all) {
  const columns = ['record', 'member', 'start', 'end', 'count', 'mean', 'min', 'max', 'last', 'value'];
  const lines = all.map((entry) => columns.map((column) => cell(entry[column])).join(','));
  return `${[columns.join(','), ...lines].join('\r\n')}\r\n`;
}

export const ndjson = (all) => all.map((entry) => `${JSON.stringify(entry)}\n`).join('');

export function saveCsv(all) { save('annals.csv', new Blob([csv(all)], { type: 'text/csv' })); }

export function saveNdjson(all) { save('annals.ndjson', new Blob([ndjson(all)], { type: 'application/x-ndjson' })); }

/** All panels below each other, each with its caption, and the legend. */
export function savePng(panels, series, colours, colourOf, title) {
  const ratio = window.devicePixelRatio || 1;
  const width = Math.max(...panels.map(({ canvas }) => canvas.width));
  const line = 20 * ratio;
  const heights = panels.map(({ canvas }) => canvas.height + line);
  const canvas = document.createElement('canvas');
  canvas.width = width;
  canvas.height = heights.reduce((sum, height) => sum + height, 0) + line * (series.length + 2);
  const context = canvas.getContext('2d');
  context.fillStyle = colours.back;
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.font = `${13 * ratio}px system-ui, sans-serif`;
  context.textBaseline = 'middle';
  const write = (content, x, y) => {
    context.fillStyle = colours.text;
    context.fillText(content, x, y + line / 2);
  };
  write(title, 8 * ratio, 0);
  let top = line;
  panels.forEach((panel, index) => {
    write(panel.caption.textContent, 8 * ratio, top);
    context.drawImage(panel.canvas, 0, top + line);
    top += heights[index];
  });
  for (const one of series) {
    context.fillStyle = colourOf(key(one));
    context.fillRect(8 * ratio, top + line / 4, line / 2, line / 2);
    write(text(titleOf(one)), 14 * ratio + line / 2, top);
    top += line;
  }
  canvas.toBlob((blob) => { if (blob) save('annals.png', blob); });
}
