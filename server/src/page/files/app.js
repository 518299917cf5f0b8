// The page: puts the parts together.

import * as api from './api.js';
import { saveCsv, saveNdjson, savePng, entries } from './download.js';
import * as format from './format.js';
import { Health } from './health.js';
import { Legend, fillTable } from './legend.js';
import { isOwn } from './names.js';
import { Panel } from './panel.js';
import { band, chart, pixels, theme } from './plot.js';
import { Data, key, seriesOf, title } from './series.js';
import { Tree } from './tree.js';
import { MOST_SERIES, RANGES, read, resolve, write, zoomed } from './view.js';

const LIST_EVERY = 30_000;
const RETRY = [500, 1000, 2000, 4000, 8000];
const find = (id) => document.getElementById(id);

const data = new Data();
const panels = new Map();
let view = read(location.hash);
let window_ = { from: 0, to: 1 };
let extent = { first: Infinity, last: -Infinity };
let cursor;
let selection;
let colours = theme();
let loading;
let timer;
let listTimer;
let failures = 0;
let drawing = false;

const page = {
  window: () => window_,
  cursor: () => cursor,
  setCursor(time) { cursor = time; draw(); },
  select(pair) { selection = pair; draw(); },
  zoom(from, to) { show({ ...view, range: undefined, ...zoomed(from, to) }); },
  zoomBy(factor) {
    const { from, to } = window_;
    const middle = cursor ?? (from + to) / 2;
    page.zoom(middle - (middle - from) * factor, middle + (to - middle) * factor);
  },
  pan(share) {
    const span = (window_.to - window_.from) * share;
    page.zoom(window_.from + span, window_.to + span);
  },
  resized() { if (!loading) schedule(150, false); draw(); },
};

const isSelected = (record) => view.series.some((one) => one.record === record);
const colourOf = (id) => colours.series[Math.max(view.series.findIndex((one) => key(one) === id), 0) % colours.series.length];

const tree = new Tree(find('tree'), find('search'), find('count'), isSelected, async ({ record }) => {
  if (isSelected(record)) return show({ ...view, series: view.series.filter((one) => one.record !== record) });
  try {
    const found = await seriesOf(record);
    if (isSelected(record)) return undefined;
    const series = [...view.series, ...found];
    if (series.length > MOST_SERIES) return tell(`At most ${MOST_SERIES} series are drawn together.`);
    return show({ ...view, series });
  } catch (error) {
    return tell(error.message);
  }
});
const legend = new Legend(find('legend-section'), (series) => {
  show({ ...view, series: view.series.filter((one) => key(one) !== key(series)) });
});
const health = new Health(find('health'), find('health-values'), find('health-state'));

/** Shows another view, which becomes a step in the browser's history. */
function show(next) {
  view = next;
  const hash = write(view);
  if (hash !== location.hash) history.pushState(null, '', hash);
  changed();
}

function changed() {
  data.keep(view.series);
  find('live').checked = view.live;
  for (const button of find('ranges').children) button.setAttribute('aria-pressed', button.value === view.range);
  arrange();
  tree.draw();
  schedule(0, false);
}

/** One panel for each member, because its records share a unit, and a band for each state. */
function arrange() {
  const wanted = new Map();
  for (const one of view.series) {
    const id = one.kind === 'n' ? `n:${one.member}` : `t:${key(one)}`;
    if (!wanted.has(id)) wanted.set(id, []);
    wanted.get(id).push(one);
  }
  for (const [id, panel] of panels) {
    if (wanted.has(id)) continue;
    panel.remove();
    panels.delete(id);
  }
  for (const [id, series] of wanted) {
    let panel = panels.get(id);
    if (!panel) {
      const isChart = series[0].kind === 'n';
      panel = new Panel(find(isChart ? 'panels' : 'bands'), isChart ? 'chart' : 'band', page);
      panels.set(id, panel);
    }
    panel.series = series;
    const [{ kind, member }] = series;
    panel.caption.textContent = kind === 'n' ? format.printable(member) || 'value' : title(series[0]);
  }
  find('hint').hidden = view.series.length > 0;
  find('table-details').hidden = view.series.length === 0;
  legend.arrange(view.series);
}

function draw() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    const { from, to } = window_;
    for (const panel of panels.values()) {
      const target = panel.target();
      if (target.width === 0) continue;
      const options = { cursor, selection };
      const [{ kind }] = panel.series;
      if (kind === 'n') {
        const series = panel.series.map((one) => ({ data: data.get(one), colour: colourOf(key(one)) }));
        chart(target, window_, series, colours, options);
      } else {
        band(target, window_, data.get(panel.series[0]), colours, Date.now(), options);
      }
      panel.canvas.setAttribute('aria-label', `${panel.caption.textContent}, ${panel.series.length} series from `
        + `${format.time(from, to - from)} to ${format.time(to, to - from)}. The values are in the table below.`);
    }
    legend.draw(view.series, data, cursor, window_, colourOf);
    const isOpen = find('table-details').open;
    if (isOpen) fillTable(find('values'), entries(view.series, data, window_));
  });
}

/** Whether the end of the window is now, so that new values come into view. */
const isLive = () => view.live && (view.range !== undefined || (view.from <= Date.now() && Date.now() <= view.to));

function schedule(delay, onlyTail) {
  clearTimeout(timer);
  timer = setTimeout(() => load(onlyTail), delay);
}

async function load(onlyTail) {
  loading?.abort();
  const current = new AbortController();
  loading = current;
  window_ = resolve(view, Date.now(), extent);
  const span = window_.to - window_.from;
  find('window').textContent = `${format.time(window_.from, span)} to ${format.time(window_.to, span)}, local time`;
  draw();
  const width = pixels(find('plots').clientWidth - 28);
  try {
    const all = view.series.map((one) => data.load(one, window_, width, current.signal, onlyTail).then(draw));
    const results = await Promise.allSettled(all);
    if (current.signal.aborted) return;
    const failed = results.find(({ status }) => status === 'rejected');
    if (failed) throw failed.reason;
    failures = 0;
    settle();
    document.body.dataset.loaded = String(Number(document.body.dataset.loaded ?? 0) + 1);
    // A new value is one pixel wide at the least.
    if (isLive()) schedule(Math.min(Math.max(span / width, 1000), 30_000), view.range !== 'all');
  } catch (error) {
    if (current.signal.aborted) return;
    fail(error);
    retry();
  } finally {
    if (loading === current) loading = undefined;
    draw();
  }
}

/** Tries again, later each time. */
function retry() {
  const delay = RETRY[Math.min(failures, RETRY.length - 1)];
  failures += 1;
  schedule(delay, false);
}

async function list() {
  clearTimeout(listTimer);
  let delay = LIST_EVERY;
  try {
    const records = (await api.records()).filter(({ record }) => !isOwn(record));
    extent = { first: Infinity, last: -Infinity };
    for (const { first, last } of records) {
      extent.first = Math.min(extent.first, first);
      extent.last = Math.max(extent.last, last);
    }
    tree.setRecords(records);
    settle();
    if (view.range === 'all') schedule(0, false);
  } catch (error) {
    fail(error);
    delay = RETRY[Math.min(failures, RETRY.length - 1)];
    failures += 1;
  }
  listTimer = setTimeout(list, delay);
}

let told;
function tell(message) {
  told = message;
  find('alert').textContent = message;
  find('alert').hidden = false;
}

// While the server is away, that is what the page says, not the browser's words for it.
function fail(error) {
  if (state !== 'down') tell(error.message);
}

function settle() {
  if (state === 'up' && told !== undefined) {
    told = undefined;
    find('alert').hidden = true;
  }
}

let state = 'up';
api.onState((next) => {
  const before = state;
  state = next;
  document.body.dataset.server = next;
  find('token-form').hidden = next !== 'token';
  if (next === 'down') tell('The server cannot be reached. This page tries again.');
  if (next === 'up' && before !== 'up') {
    settle();
    failures = 0;
    list();
    schedule(0, false);
  }
});

for (const [label, name] of RANGES) {
  const button = find('ranges').appendChild(document.createElement('button'));
  button.type = 'button';
  button.value = name;
  button.textContent = label;
  button.addEventListener('click', () => show({ ...view, range: name, from: undefined, to: undefined }));
}
find('live').addEventListener('change', ({ target }) => show({ ...view, live: target.checked }));
find('out').addEventListener('click', () => page.zoomBy(2));
find('menu').addEventListener('click', ({ currentTarget }) => {
  const isOpen = find('records').classList.toggle('open');
  currentTarget.setAttribute('aria-expanded', isOpen);
  tree.draw();
});
find('health-open').addEventListener('click', () => health.open());
find('health-close').addEventListener('click', () => find('health').close());
find('table-details').addEventListener('toggle', draw);
find('token-form').addEventListener('submit', (event) => {
  event.preventDefault();
  api.useToken(find('token').value);
  list();
  schedule(0, false);
});
find('download').addEventListener('change', ({ target }) => {
  const kind = target.value;
  target.value = '';
  const all = entries(view.series, data, window_);
  if (kind === 'csv') saveCsv(all);
  if (kind === 'ndjson') saveNdjson(all);
  if (kind === 'png' && panels.size > 0) {
    savePng([...panels.values()], view.series, colours, colourOf, find('window').textContent);
  }
});
window.addEventListener('popstate', () => { view = read(location.hash); changed(); });
window.addEventListener('hashchange', () => { view = read(location.hash); changed(); });
document.addEventListener('visibilitychange', () => {
  // Nobody looks: nothing is asked.
  if (document.hidden) clearTimeout(timer);
  else schedule(0, false);
});
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => { colours = theme(); draw(); });

changed();
list();
