// Asks the server. Every failure is an error with a text for people.

const base = new URL('..', import.meta.url);
const listeners = new Set();
let token = sessionStorage.getItem('annals-token') ?? '';

/** Calls `listener` with 'up', 'down' or 'token' whenever it changes. */
export function onState(listener) { listeners.add(listener); }

let state = 'up';
function setState(next) {
  if (next === state) return;
  state = next;
  for (const listener of listeners) listener(next);
}

export function useToken(given) {
  token = given;
  sessionStorage.setItem('annals-token', given);
}

async function get(path, parameters, signal) {
  const url = new URL(path, base);
  for (const [name, value] of Object.entries(parameters ?? {})) {
    if (value !== undefined) url.searchParams.set(name, value);
  }
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  let answer;
  try {
    answer = await fetch(url, { headers, signal, cache: 'no-store' });
  } catch (error) {
    if (error.name !== 'AbortError') setState('down');
    throw error;
  }
  if (answer.status === 401) {
    setState('token');
    throw new Error('This server needs a token.');
  }
  if (answer.status === 502 || answer.status === 503 || answer.status === 504) {
    setState('down');
    throw new Error('The server is not ready.');
  }
  setState('up');
  if (!answer.ok) {
    const problem = await answer.json().catch(() => ({}));
    throw new Error(problem.detail ?? `The server answered with ${answer.status}.`);
  }
  return answer;
}

/** A JSON array, or NDJSON line by line. */
async function lines(path, parameters, signal) {
  const text = await (await get(path, parameters, signal)).text();
  if (text.startsWith('[')) return JSON.parse(text);
  return text.split('\n').filter(Boolean).map((line) => JSON.parse(line));
}

const RECORDS = 10_000;

/** All records: {record, count, first, last}. They come in pages, which a token may make smaller. */
export async function records(signal) {
  const all = [];
  for (let page; page === undefined || page.length > 0;) {
    page = await lines('v1/records', { limit: RECORDS, after: all.at(-1)?.record }, signal);
    for (const record of page) all.push(record);
    if (all.length < RECORDS && page.length < 1000) break;
  }
  return all;
}

/** Buckets of one record: {start, end, count, mean, min, max, filled}. */
export function aggregate(record, member, from, to, every, signal) {
  const show = 'count,mean,min,max';
  return lines('v1/aggregate', {
    pattern: record, member, from, to, every: `${every}ms`, show, fill: 'previous',
  }, signal);
}

/** The newest rows of one record up to `to`: {record, value, stored_at}, newest first. */
export function newest(record, count, from, to, signal) {
  return lines('v1/history', { pattern: record, latest: count, from, to }, signal);
}

/** The state of the server. */
export async function status() { return (await get('v1/status')).json(); }
