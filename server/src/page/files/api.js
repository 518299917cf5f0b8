// Asks the server. Every failure is an error with a text for people.

const base = new URL('..', import.meta.url);
const STATUS = 'v1/status';
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

/** How many rows an answer has at most, as far as that is known: tokens may have a limit. */
let mostRows = Infinity;
export const rowsPerAnswer = () => mostRows;

export function useToken(given) {
  token = given;
  mostRows = Infinity;
  sessionStorage.setItem('annals-token', given);
}

/** The token in use may not have the answer. Only another token helps. */
export class Refusal extends Error {}

async function get(path, parameters, signal) {
  const url = new URL(path, base);
  for (const [name, value] of Object.entries(parameters ?? {})) {
    if (value !== undefined) url.searchParams.set(name, value);
  }
  const asked = token;
  const headers = asked ? { Authorization: `Bearer ${asked}` } : {};
  let answer;
  // A token may have fewer queries at once than the page has series.
  for (let tries = 0; tries < 10 && (tries === 0 || answer.status === 429); tries += 1) {
    if (tries > 0) await new Promise((resolve) => { setTimeout(resolve, 1000 * Number(answer.headers.get('Retry-After') ?? 1)); });
    try {
      answer = await fetch(url, { headers, signal, cache: 'no-store' });
    } catch (error) {
      if (error.name !== 'AbortError') setState('down');
      throw error;
    }
  }
  // A late answer to an earlier token says nothing about the one in use.
  const askAgain = () => { if (asked === token) setState('token'); };
  if (answer.status === 401) {
    askAgain();
    throw new Refusal(asked ? 'The server does not know this token.' : 'This server needs a token.');
  }
  if (answer.status === 502 || answer.status === 503 || answer.status === 504) {
    setState('down');
    throw new Error('The server is not ready.');
  }
  const problem = answer.ok ? {} : await answer.json().catch(() => ({}));
  const detail = problem.detail ?? `The server answered with ${answer.status}.`;
  if (answer.status === 403) {
    // The page works without the state of the server: it asks for no other token.
    if (path === STATUS) throw new Refusal('This needs a token with the right "admin".');
    askAgain();
    throw new Refusal(`${detail}. Use another token.`);
  }
  setState('up');
  if (!answer.ok) throw new Error(detail);
  if (parameters?.limit === undefined) mostRows = Number(answer.headers.get('Annals-Limit') ?? Infinity);
  return answer;
}

/** NDJSON, line by line. */
async function lines(path, parameters, signal) {
  const text = await (await get(path, parameters, signal)).text();
  return text.split('\n').filter(Boolean).map((line) => JSON.parse(line));
}

const RECORDS = 10_000;

/** All records: {record, count, first, last}. They come in pages, which a token may make smaller. */
export async function records(signal) {
  const all = [];
  for (;;) {
    const answer = await get('v1/records', { limit: RECORDS, after: all.at(-1)?.record }, signal);
    for (const record of await answer.json()) all.push(record);
    if (!answer.headers.has('Link')) return all;
  }
}

/** Buckets of one record: {start, end, count, mean, min, max, last, filled}. */
export function aggregate(record, member, from, to, every, signal) {
  const show = 'count,mean,min,max,last';
  return lines('v1/aggregate', {
    pattern: record, member, from, to, every: `${every}ms`, show, fill: 'previous',
  }, signal);
}

/** The newest rows of one record up to `to`: {record, value, stored_at}, newest first. */
export function newest(record, count, from, to, signal) {
  return lines('v1/history', { pattern: record, latest: count, from, to }, signal);
}

/** The state of the server. */
export async function status() { return (await get(STATUS)).json(); }
