// What the page knows: the photos in view, the rows of those seen lately, and who is told when one changes.

import { get } from "./api.js";

const MOST_ROWS = 3000; // kept; the others are asked for again
const AT_ONCE = 100;

export const source = {};
export const view = { numbers: [], query: {} };
export const selected = new Set();
const rows = new Map(); // in the order in which they were used
const asked = new Set();
const listeners = [];
let seq = 0;
let asking = 0;

export const onChange = (listener) => listeners.push(listener);
const changed = (numbers) => listeners.forEach((listener) => listener(numbers));

export function rowOf(number) {
  const row = rows.get(number);
  if (row) {
    rows.delete(number);
    rows.set(number, row);
  }
  return row;
}

export function keep(some) {
  for (const row of some) {
    const before = rows.get(row.n);
    rows.delete(row.n);
    rows.set(row.n, before?.pending ? { ...row, pending: before.pending } : row);
  }
  for (const [number, row] of rows) {
    if (rows.size <= MOST_ROWS) {
      break;
    }
    if (!row.pending) {
      rows.delete(number);
    }
  }
  changed(some.map((row) => row.n));
}

/** Shows a decision that is not saved yet; null: it is. */
export function setPending(number, pending) {
  const row = rows.get(number);
  if (row) {
    row.pending = pending;
    changed([number]);
  }
}

/** Asks for the rows at these places of the view that are not known. */
export async function want(first, end) {
  const missing = [];
  for (let place = Math.max(0, first); place < Math.min(end, view.numbers.length); place += 1) {
    const number = view.numbers[place];
    if (!rows.has(number) && !asked.has(number)) {
      missing.push(number);
    }
  }
  for (let start = 0; start < missing.length; start += AT_ONCE) {
    const part = missing.slice(start, start + AT_ONCE);
    part.forEach((number) => asked.add(number));
    try {
      keep(await get("api/rows", { n: part.join(",") }));
    } catch {
      // The poll says that the server is away; they are asked for again when they come into sight.
    } finally {
      part.forEach((number) => asked.delete(number));
    }
  }
}

export async function loadSource() {
  Object.assign(source, await get("api/source"));
}

/** Returns whether it is still the view that was asked for last. */
export async function loadView(query) {
  asking += 1;
  const mine = asking;
  const found = await get("api/view", query);
  if (mine !== asking) {
    return false;
  }
  view.query = query;
  view.numbers = found.numbers;
  seq = found.seq;
  keep(found.rows);
  changed(null);
  return true;
}

/** What others, and other tabs, have decided since. Returns whether there was anything. */
export async function poll() {
  const found = await get("api/changes", { since: String(seq) });
  if (found.lost) {
    seq = found.seq;
    rows.clear();
    changed(null);
  } else {
    keep(found.rows.filter((row) => rows.has(row.n)));
  }
  const some = found.lost || found.seq > seq;
  seq = found.seq;
  takeProgress(found);
  return some;
}

export function takeProgress({ counts, people }) {
  Object.assign(source, { counts, people });
  changed([]);
}

export function learnClass(name) {
  if (name && !source.classes.includes(name)) {
    source.classes = [...source.classes, name].sort((one, other) => one.localeCompare(other));
  }
}
