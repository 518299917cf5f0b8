// The list of records: a searchable tree of which only the visible rows are in the document.

import { count, counted, printable } from './format.js';
import { rows, tree } from './names.js';

const HEIGHT = 26;
const SPARE = 8;

export class Tree {
  /** `toggle(record)` is called when a record is chosen or not any longer. */
  constructor(element, input, note, isSelected, toggle) {
    Object.assign(this, { element, input, note, isSelected, toggle });
    this.records = [];
    this.open = new Set();
    this.closed = new Set();
    this.shown = [];
    this.active = 0;
    this.space = element.appendChild(document.createElement('div'));
    this.space.className = 'space';
    this.space.setAttribute('role', 'presentation');
    this.pool = new Map();
    element.addEventListener('scroll', () => this.draw());
    element.addEventListener('click', (event) => this.clicked(event));
    element.addEventListener('keydown', (event) => this.pressed(event));
    input.addEventListener('input', () => { this.closed.clear(); this.active = 0; this.update(); });
    new ResizeObserver(() => this.draw()).observe(element);
  }

  setRecords(records) {
    this.records = records;
    this.update();
  }

  isOpen(node) {
    if (this.input.value || this.all <= 40) return !this.closed.has(node.path);
    return this.open.has(node.path);
  }

  /** Finds the rows again: the records, the search or what is open has changed. */
  update() {
    const words = this.input.value.toLowerCase().split(/\s+/).filter(Boolean);
    const found = words.length === 0 ? this.records : this.records.filter((record) => {
      const name = record.record.toLowerCase();
      return words.every((word) => name.includes(word));
    });
    this.all = found.length;
    const total = counted(this.records.length, 'record');
    this.note.textContent = words.length === 0 ? total : `${count(found.length)} of ${total}`;
    this.shown = rows(tree(found), (node) => this.isOpen(node));
    this.active = Math.min(this.active, Math.max(this.shown.length - 1, 0));
    this.space.style.height = `${this.shown.length * HEIGHT}px`;
    for (const element of this.pool.values()) element.remove();
    this.pool.clear();
    this.draw();
  }

  draw() {
    const first = Math.max(Math.floor(this.element.scrollTop / HEIGHT) - SPARE, 0);
    const visible = Math.ceil(this.element.clientHeight / HEIGHT) + 2 * SPARE;
    const last = Math.min(first + visible, this.shown.length);
    for (const [index, element] of this.pool) {
      if (index < first || index >= last) {
        element.remove();
        this.pool.delete(index);
      }
    }
    for (let index = first; index < last; index += 1) {
      let element = this.pool.get(index);
      if (!element) {
        element = this.row(index);
        this.pool.set(index, element);
        this.element.append(element);
      }
      this.mark(element, index);
    }
    if (this.shown.length > 0) this.element.setAttribute('aria-activedescendant', `row-${this.active}`);
    else this.element.removeAttribute('aria-activedescendant');
  }

  row(index) {
    const { node, level, label } = this.shown[index];
    const element = document.createElement('div');
    const part = (name, text) => {
      const span = element.appendChild(document.createElement('span'));
      span.className = name;
      span.textContent = text;
      return span;
    };
    element.className = 'row';
    element.id = `row-${index}`;
    element.dataset.index = index;
    element.setAttribute('role', 'treeitem');
    element.setAttribute('aria-level', level);
    element.style.top = `${index * HEIGHT}px`;
    element.style.paddingLeft = `${(level - 1) * 14 + 2}px`;
    const isBranch = node.children.size > 0;
    part('twist', isBranch ? (this.isOpen(node) ? '▾' : '▸') : '').setAttribute('aria-hidden', 'true');
    if (isBranch) element.setAttribute('aria-expanded', this.isOpen(node));
    if (node.record) part('box', '').setAttribute('aria-hidden', 'true');
    part('name', printable(label));
    part('number', count(isBranch ? node.size : node.record.count));
    element.title = printable(node.path);
    return element;
  }

  mark(element, index) {
    const { record } = this.shown[index].node;
    element.classList.toggle('active', index === this.active);
    if (!record) return;
    const isSelected = this.isSelected(record.record);
    element.setAttribute('aria-selected', isSelected);
    element.querySelector('.box').textContent = isSelected ? '✓' : '';
  }

  /** Opens or closes a branch. */
  turn(node, isOpen) {
    this.open[isOpen ? 'add' : 'delete'](node.path);
    this.closed[isOpen ? 'delete' : 'add'](node.path);
    this.update();
  }

  clicked(event) {
    const element = event.target.closest('.row');
    if (!element) return;
    this.active = Number(element.dataset.index);
    this.use(event.target.classList.contains('twist'));
  }

  use(isTwist) {
    const { node } = this.shown[this.active] ?? {};
    if (!node) return;
    if (node.record && !isTwist) this.toggle(node.record);
    else if (node.children.size > 0) this.turn(node, !this.isOpen(node));
    this.draw();
  }

  pressed(event) {
    const { node, level } = this.shown[this.active] ?? {};
    if (!node) return;
    const page = Math.max(Math.floor(this.element.clientHeight / HEIGHT) - 1, 1);
    const moves = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
    if (event.key in moves) {
      this.active = Math.min(Math.max(this.active + moves[event.key], 0), this.shown.length - 1);
    } else if (event.key === 'ArrowRight' && node.children.size > 0 && !this.isOpen(node)) {
      this.turn(node, true);
    } else if (event.key === 'ArrowLeft' && node.children.size > 0 && this.isOpen(node)) {
      this.turn(node, false);
    } else if (event.key === 'ArrowLeft') {
      while (this.active > 0 && this.shown[this.active].level >= level) this.active -= 1;
    } else if (event.key === 'Enter' || event.key === ' ') {
      this.use(false);
    } else {
      return;
    }
    event.preventDefault();
    const top = this.active * HEIGHT;
    const view = this.element;
    if (top < view.scrollTop) view.scrollTop = top;
    if (top + HEIGHT > view.scrollTop + view.clientHeight) view.scrollTop = top + HEIGHT - view.clientHeight;
    this.draw();
  }
}
