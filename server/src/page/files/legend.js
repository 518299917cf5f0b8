// The series as a table: the last value or the mean at the cursor, and mean, min and max of the window.

import { number, text, time } from './format.js';
import { segments } from './names.js';
import { at, key, summary, title } from './series.js';

const MOST_ENTRIES = 500;

/** Adds the name of a series to a cell. Lines break behind a segment of the name. */
function appendTitle(cell, series) {
  for (const segment of segments(title(series))) cell.append(segment, document.createElement('wbr'));
}

/** The value of a bucket: the last one, and in the middle of the window the mean if it has several. */
const valueOf = (bucket, isEnd) => (isEnd || bucket?.count <= 1 ? bucket?.last : bucket?.mean);

export class Legend {
  constructor(section, remove) {
    Object.assign(this, { section, remove, rows: new Map() });
    this.body = section.querySelector('tbody');
    this.head = section.querySelector('#at');
  }

  arrange(series) {
    this.section.hidden = series.length === 0;
    this.rows.clear();
    this.body.replaceChildren(...series.map((one) => {
      const row = document.createElement('tr');
      const name = row.appendChild(document.createElement('th'));
      name.scope = 'row';
      const swatch = name.appendChild(document.createElement('span'));
      swatch.className = 'swatch';
      appendTitle(name, one);
      const cells = Array.from({ length: 4 }, () => row.insertCell());
      const button = row.insertCell().appendChild(document.createElement('button'));
      button.type = 'button';
      button.textContent = '×';
      button.setAttribute('aria-label', `Remove ${title(one)}`);
      button.addEventListener('click', () => this.remove(one));
      this.rows.set(key(one), { swatch, cells });
      return row;
    }));
  }

  draw(series, data, cursor, { from, to }, colourOf) {
    this.head.textContent = cursor === undefined ? 'Last' : time(cursor, to - from);
    for (const one of series) {
      const row = this.rows.get(key(one));
      if (!row) continue;
      const known = data.get(one);
      const here = at(known, cursor ?? to);
      const whole = summary(known);
      row.swatch.style.background = one.kind === 'n' ? colourOf(key(one)) : 'transparent';
      const state = () => (here === undefined ? '' : text(here.value, 40));
      const value = one.kind === 'n' ? number(valueOf(here, cursor === undefined)) : state();
      const values = [value, number(whole?.mean), number(whole?.min), number(whole?.max)];
      values.forEach((content, index) => {
        if (row.cells[index].textContent !== content) row.cells[index].textContent = content;
      });
    }
  }
}

/** What is drawn as a table, the newest first. */
export function fillTable(table, entries) {
  const shown = entries.slice().sort((one, other) => other.start - one.start).slice(0, MOST_ENTRIES);
  const head = document.createElement('thead');
  const titles = head.insertRow();
  for (const name of ['Time', 'Series', 'Value or mean', 'Min', 'Max', 'Last', 'Rows']) {
    const cell = titles.appendChild(document.createElement('th'));
    cell.scope = 'col';
    cell.textContent = name;
  }
  const body = document.createElement('tbody');
  for (const { record, member, start, count, mean, min, max, last, value } of shown) {
    const row = body.insertRow();
    const isText = mean === undefined;
    row.insertCell().textContent = time(start, 1e5);
    const name = row.insertCell();
    name.className = 'name';
    appendTitle(name, { record, member });
    const cells = [isText ? text(value, 200) : number(mean), number(min), number(max), number(last), count ?? ''];
    cells.forEach((content, index) => {
      const cell = row.insertCell();
      cell.textContent = content;
      if (index === 0 && isText) cell.className = 'text';
    });
  }
  table.replaceChildren(head, body);
}
