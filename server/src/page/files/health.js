// The health of the server: what it says of itself, and whether that is good.

import { Refusal, status } from './api.js';
import { bytes, count, counted, number, time } from './format.js';

const EVERY = 2000;

const moment = (millis) => (millis === null || millis === undefined ? 'never' : time(millis, 6e4));

/** The rows of the table: a title and a text. What the server does not know is left out. */
export function rows(state) {
  const { queue, history, retention } = state;
  return [
    ['Store', state.store_reachable ? 'answers' : 'does not answer'],
    ['Rows per second, over a minute', number(state.rows_per_second)],
    ['Queue', `${count(queue.rows)} of ${count(queue.capacity_rows)} rows, ${bytes(queue.bytes)} of ${bytes(queue.capacity_bytes)}`],
    ['Batches stored', count(state.batches)],
    ['Size on disk', state.disk_bytes === null ? undefined : bytes(state.disk_bytes)],
    ['Records', history ? count(history.records) : undefined],
    ['Rows', history ? count(history.rows) : undefined],
    ['Oldest row', history?.oldest_row ? moment(history.oldest_row) : undefined],
    ['Newest row', history?.newest_row ? moment(history.newest_row) : undefined],
    ['Last sweep', retention ? moment(retention.last_success) : 'no retention is configured'],
    ['Rows swept', retention ? count(retention.removed_rows) : undefined],
    ['Sweeps that failed', retention ? count(retention.failures) : undefined],
    ['Failed calls to the store', count(state.errors)],
    ['Last failure', moment(state.last_error_at)],
    ['Connections', count(state.connections)],
    ['Queries', `${counted(state.streams_open, 'answer')} open, ${count(state.queries_waiting)} waiting`],
    ['Running for', `${count(state.uptime_seconds)} s`],
    ['Version', state.version],
  ].filter(([, content]) => content !== undefined);
}

export class Health {
  constructor(dialog, table, note) {
    Object.assign(this, { dialog, table, note });
    dialog.addEventListener('close', () => clearTimeout(this.timer));
  }

  open() {
    this.dialog.showModal();
    this.look();
  }

  async look() {
    try {
      const state = await status();
      this.note.textContent = state.draining ? 'The server is shutting down.'
        : state.store_reachable ? 'The server and its store answer.' : 'The store does not answer.';
      this.show(rows(state));
    } catch (error) {
      this.note.textContent = error.message;
      if (error instanceof Refusal) {
        // Values that another token has seen. Asking again would be refused again.
        this.show([]);
        return;
      }
    }
    if (this.dialog.open) this.timer = setTimeout(() => this.look(), EVERY);
  }

  show(all) {
    const body = document.createElement('tbody');
    for (const [title, content] of all) {
      const row = body.insertRow();
      const head = row.appendChild(document.createElement('th'));
      head.scope = 'row';
      head.textContent = title;
      row.insertCell().textContent = content;
    }
    this.table.replaceChildren(body);
  }
}
