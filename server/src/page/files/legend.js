// The series as a table: the value at the cursor, and mean, min and max of the window.

import { number, text, time } from './format.js';
import { at, key, summary } from './series.js';

const MOST_ENTRIES = 500;

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
      name.append(one.member === '' ? one.record : `${one.record} ${one.member}`);
      const cells = Array.from({ length: 4 }, () => row.insertCell());
      const button = row.insertCell().appendChild(document.createElement('button'));
      button.type = 'button';
      button.textContent = '×';
      button.setAttribute('aria-label', `Remove ${one.record} ${one.member}`);
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
      const value = one.kind === 'n' ? number(here?.mean) : here === undefined ? '' : text(here.value, 40);
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
  for (const title of ['Time', 'Series', 'Value or mean', 'Min', 'Max', 'Rows']) {
    const cell = titles.appendChild(document.createElement('th'));
    cell.scope = 'col';
    cell.textContent = title;
  }
  const body = document.createElement('tbody');
  for (const { record, member, start, count, mean, min, max, value } of shown) {
    const row = body.insertRow();
    const isText = mean === undefined;
    row.insertCell().textContent = time(start, 1e5);
    const cells = [`${record} ${member}`, isText ? text(value, 200) : number(mean), number(min), number(max), count ?? ''];
    cells.forEach((content, index) => {
      const cell = row.insertCell();
      cell.textContent = content;
      if (index === 0 || (index === 1 && isText)) cell.className = 'text';
    });
  }
  table.replaceChildren(head, body);
}
