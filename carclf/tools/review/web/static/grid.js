// The grid: however many photos there are, only those in sight are in the page.

import { find, make, say } from "./api.js";
import { onChange, rowOf, selected, view, want } from "./store.js";

const GAP = 8;
const WORDS_HIGH = 42; // pixels below each picture
const BEYOND = 2; // rows that are drawn above and below what is seen
const SETTLED = 90; // milliseconds without scrolling after which pictures are asked for
const HELD = 500; // milliseconds that a finger rests on a photo that is to be selected

const grid = find("#grid");
const space = find("#space");
const cells = new Map(); // place in the view -> element
let columns = 1;
let wide = 160;
let high = 160;
let at = 0;
let settled = true;
let timer = 0;
let drawing = 0;
let opened = () => {};

export const focusedPlace = () => at;
export const whenOpened = (listener) => { opened = listener; };

export function measure() {
  const least = innerWidth < 600 ? 104 : 168;
  const room = grid.clientWidth - GAP;
  columns = Math.max(1, Math.floor(room / (least + GAP)));
  wide = Math.floor(room / columns) - GAP;
  high = Math.round(wide * 0.75) + WORDS_HIGH;
  space.style.height = `${Math.ceil(view.numbers.length / columns) * (high + GAP) + GAP}px`;
}

/** Draws what is in sight; called for every frame that scrolls, so it only touches what changes. */
export function draw() {
  cancelAnimationFrame(drawing);
  drawing = requestAnimationFrame(drawNow);
}

function drawNow() {
  const first = Math.max(0, Math.floor(grid.scrollTop / (high + GAP)) - BEYOND) * columns;
  const rowsSeen = Math.ceil(grid.clientHeight / (high + GAP)) + 2 * BEYOND + 1;
  const end = Math.min(view.numbers.length, first + rowsSeen * columns);
  for (const [place, cell] of cells) {
    if ((place < first || place >= end) && place !== at) {
      cell.remove();
      cells.delete(place);
    }
  }
  const added = [];
  for (let place = first; place < end; place += 1) {
    if (!cells.has(place)) {
      added.push(newCell(place));
    }
  }
  if (at < view.numbers.length && !cells.has(at)) {
    added.push(newCell(at)); // the focus is not lost when it scrolls out of sight
  }
  space.append(...added);
  for (const [place, cell] of cells) {
    fill(cell, place);
  }
  if (settled) {
    want(first, end);
  }
}

function newCell(place) {
  const cell = make("div", { className: "cell", id: `photo-${place}` },
    make("img", { alt: "", decoding: "async", draggable: false }),
    make("span", { className: "badge", ariaHidden: "true" }),
    make("span", { className: "label" }), make("span", { className: "why" }));
  cell.setAttribute("role", "option");
  cell.dataset.place = place;
  cell.style.width = `${wide}px`;
  cell.style.height = `${high}px`;
  const left = GAP + (place % columns) * (wide + GAP);
  cell.style.transform = `translate(${left}px, ${GAP + Math.floor(place / columns) * (high + GAP)}px)`;
  cell.setAttribute("aria-posinset", place + 1);
  cell.setAttribute("aria-setsize", view.numbers.length);
  const picture = find("img", cell);
  picture.addEventListener("load", () => cell.classList.add("seen"));
  picture.addEventListener("error", () => cell.classList.add("broken"));
  cells.set(place, cell);
  return cell;
}

function fill(cell, place) {
  const number = view.numbers[place];
  const picture = find("img", cell);
  if (settled && !picture.src) {
    picture.src = `thumb/${number}`;
  }
  cell.tabIndex = place === at ? 0 : -1;
  cell.setAttribute("aria-selected", String(selected.has(number)));
  const row = rowOf(number);
  if (!row) {
    cell.setAttribute("aria-label", `Photo ${place + 1}`);
    return;
  }
  const state = stateOf(row);
  const text = [row.now, row.why, state.words, cell.className].join("|");
  if (cell.dataset.text === text) {
    return;
  }
  cell.dataset.text = text;
  cell.dataset.state = state.kind;
  find(".label", cell).textContent = labelOf(row);
  find(".why", cell).textContent = state.words || why(row);
  find(".badge", cell).textContent = state.mark;
  cell.setAttribute("aria-label", describe(row));
}

/** The label that is in force; of a photo without a car the one that it had. */
export const labelOf = (row) => row.now || (row.state?.decision === "no_car" && row.label) || "no label";

/** How a row's decision is shown: saved, or on its way. */
export function stateOf(row) {
  if (row.pending) {
    return { kind: "pending", mark: "…", words: `${row.pending}, not saved yet` };
  }
  if (!row.state) {
    return { kind: "", mark: "", words: "" };
  }
  const { decision, new: name, by } = row.state;
  return {
    accept: { kind: "accept", mark: "✓", words: `right, ${by}` },
    class: { kind: "class", mark: "✎", words: `${name === row.label ? "kept" : `was ${row.label || "nothing"}`}, ${by}` },
    no_car: { kind: "no_car", mark: "✕", words: `no car, ${by}` },
    later: { kind: "later", mark: "?", words: `later, ${by}` },
  }[decision];
}

export function why(row) {
  if (row.issue === "label") {
    return `rather ${row.why}`;
  }
  return [row.issue, row.why].filter(Boolean).join(": ");
}

export function describe(row) {
  const state = stateOf(row);
  return [row.name, labelOf(row), why(row), state.words || "to do"].filter(Boolean).join("; ");
}

/** Moves to a place of the view; `extend` selects all on the way. */
export function goTo(place, { focus = true, extend = false } = {}) {
  if (!view.numbers.length) {
    return;
  }
  const before = at;
  at = Math.max(0, Math.min(view.numbers.length - 1, place));
  if (extend) {
    for (let one = Math.min(before, at); one <= Math.max(before, at); one += 1) {
      selected.add(view.numbers[one]);
    }
    selectionChanged();
  }
  const top = GAP + Math.floor(at / columns) * (high + GAP);
  if (top < grid.scrollTop) {
    grid.scrollTop = top - GAP;
  } else if (top + high > grid.scrollTop + grid.clientHeight) {
    grid.scrollTop = top + high + GAP - grid.clientHeight;
  }
  drawNow();
  if (focus) {
    cells.get(at)?.focus({ preventScroll: true });
  }
}

export const step = (by, extend) => goTo(at + by, { extend });
export const stepRow = (by, extend) => goTo(at + by * columns, { extend });
export const stepPage = (by) => goTo(at + by * columns * Math.max(1, Math.floor(grid.clientHeight / (high + GAP))));

export function toggle(place) {
  const number = view.numbers[place];
  if (!selected.delete(number)) {
    selected.add(number);
  }
  selectionChanged();
}

export function selectionChanged() {
  draw();
  document.dispatchEvent(new CustomEvent("selection"));
  say(`${selected.size} selected`);
}

/** A new view: from the top, nothing kept of the old one. */
export function reset(place = 0) {
  cells.forEach((cell) => cell.remove());
  cells.clear();
  at = Math.max(0, Math.min(place, view.numbers.length - 1));
  measure();
  grid.scrollTop = place ? Math.floor(at / columns) * (high + GAP) : 0;
  drawNow();
}

grid.addEventListener("scroll", () => {
  settled = false;
  clearTimeout(timer);
  timer = setTimeout(() => {
    settled = true;
    drawNow();
  }, SETTLED);
  draw();
}, { passive: true });

new ResizeObserver(() => {
  const before = columns;
  const seen = Math.floor(grid.scrollTop / (high + GAP)) * before;
  measure();
  cells.forEach((cell) => cell.remove());
  cells.clear();
  grid.scrollTop = Math.floor(seen / columns) * (high + GAP);
  drawNow();
}).observe(grid);

const placeOf = (event) => {
  const cell = event.target.closest?.(".cell");
  return cell ? Number(cell.dataset.place) : -1;
};
let held = 0;
let wasHeld = false;

grid.addEventListener("click", (event) => {
  const place = placeOf(event);
  if (place < 0) {
    return;
  }
  if (wasHeld) {
    wasHeld = false;
  } else if (event.shiftKey) {
    goTo(place, { extend: true });
  } else if (event.ctrlKey || event.metaKey || event.target.classList.contains("badge") || selected.size) {
    goTo(place);
    toggle(place);
  } else {
    goTo(place);
    opened();
  }
});
grid.addEventListener("focusin", (event) => { // a screen reader moves the focus by itself
  const place = placeOf(event);
  if (place >= 0 && place !== at) {
    at = place;
    draw();
  }
});
grid.addEventListener("pointerdown", (event) => {
  const place = placeOf(event);
  wasHeld = false;
  if (place >= 0 && event.pointerType === "touch") {
    held = setTimeout(() => {
      wasHeld = true;
      goTo(place, { focus: false });
      toggle(place);
    }, HELD);
  }
});
for (const name of ["pointerup", "pointercancel", "pointermove"]) {
  grid.addEventListener(name, (event) => {
    if (name !== "pointermove" || Math.abs(event.movementY) > 2) {
      clearTimeout(held);
    }
  });
}
grid.addEventListener("contextmenu", (event) => {
  if (wasHeld) {
    event.preventDefault();
  }
});
onChange((numbers) => numbers === null ? reset() : draw());
