// One chart or band on the page, and what is done with it: the cursor, dragging, keys.

import { fit, pixels, timeAt } from './plot.js';

export class Panel {
  /** `page` has view(), setCursor(time), zoom(from, to) and pan(share). */
  constructor(parent, className, page) {
    this.page = page;
    this.figure = parent.appendChild(document.createElement('figure'));
    this.figure.className = 'panel';
    this.caption = this.figure.appendChild(document.createElement('figcaption'));
    this.canvas = this.figure.appendChild(document.createElement('canvas'));
    this.canvas.className = className;
    this.canvas.tabIndex = 0;
    this.canvas.setAttribute('role', 'img');
    this.canvas.addEventListener('pointerdown', (event) => this.down(event));
    this.canvas.addEventListener('pointermove', (event) => this.move(event));
    this.canvas.addEventListener('pointerup', (event) => this.up(event));
    this.canvas.addEventListener('pointercancel', () => this.cancel());
    this.canvas.addEventListener('pointerleave', () => page.setCursor(undefined));
    this.canvas.addEventListener('dblclick', () => page.zoomBy(2));
    this.canvas.addEventListener('keydown', (event) => this.pressed(event));
    this.resized = new ResizeObserver(() => page.resized());
    this.resized.observe(this.canvas);
  }

  remove() {
    this.resized.disconnect();
    this.figure.remove();
  }

  target() { return fit(this.canvas); }

  time(event) {
    const box = this.canvas.getBoundingClientRect();
    const view = this.page.window();
    return Math.min(Math.max(timeAt(event.clientX - box.left, box.width, view), view.from), view.to);
  }

  down(event) {
    if (event.button !== 0) return;
    this.canvas.setPointerCapture(event.pointerId);
    this.began = this.time(event);
  }

  move(event) {
    const time = this.time(event);
    if (this.began !== undefined) this.page.select([this.began, time]);
    this.page.setCursor(time);
  }

  up(event) {
    if (this.began === undefined) return;
    const ends = [this.began, this.time(event)].sort((one, other) => one - other);
    this.cancel();
    const { from, to } = this.page.window();
    // A click is no zoom.
    const width = pixels(this.canvas.clientWidth);
    if ((ends[1] - ends[0]) / (to - from) * width >= 4) this.page.zoom(ends[0], ends[1]);
  }

  cancel() {
    this.began = undefined;
    this.page.select(undefined);
  }

  pressed(event) {
    const { from, to } = this.page.window();
    const step = (to - from) / 100;
    const cursor = this.page.cursor() ?? (from + to) / 2;
    const keys = {
      ArrowLeft: () => this.page.setCursor(Math.max(cursor - step, from)),
      ArrowRight: () => this.page.setCursor(Math.min(cursor + step, to)),
      Home: () => this.page.setCursor(from),
      End: () => this.page.setCursor(to),
      PageUp: () => this.page.pan(-0.5),
      PageDown: () => this.page.pan(0.5),
      '+': () => this.page.zoomBy(0.5),
      '-': () => this.page.zoomBy(2),
      Escape: () => this.page.setCursor(undefined),
    };
    const act = keys[event.key];
    if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    act();
  }
}
