// The large view of one photo: what is known of it, and all decisions.

import { find, get, make, percent, say } from "./api.js";
import { classField } from "./choose.js";
import { decide, undo } from "./decide.js";
import { describe, focusedPlace, goTo, labelOf, stateOf, why } from "./grid.js";
import { onChange, rowOf, view } from "./store.js";

const SVG = "http://www.w3.org/2000/svg";
const SWIPE = 60; // pixels
const large = find("#large");
const photo = find("#photo");
const field = classField(find("#choose"), "Another class", (name) => choose(name));
let shown = -1; // the number of the photo
let ahead = null;
let loading = Promise.resolve();

export const isOpen = () => !large.hidden;
export const current = () => shown;

export function open() {
  if (!view.numbers.length) {
    return;
  }
  large.hidden = false;
  document.body.classList.add("looking");
  show();
  find("#large-label").focus();
}

export function close() {
  large.hidden = true;
  shown = -1;
  document.body.classList.remove("looking");
  photo.removeAttribute("src");
  goTo(focusedPlace());
}

export function step(by) {
  const before = focusedPlace();
  goTo(before + by, { focus: false });
  if (focusedPlace() === before) {
    say(by > 0 ? "That was the last photo." : "That was the first photo.");
  }
  show();
}

function show() {
  shown = view.numbers[focusedPlace()];
  loading = load(shown);
}

async function load(number) {
  const side = Math.ceil(Math.max(innerWidth, innerHeight) * Math.min(2, devicePixelRatio));
  photo.src = `photo/${number}?side=${side}`;
  find("#unreadable").hidden = true;
  find("#drawing").replaceChildren();
  const row = rowOf(number);
  if (row) {
    fill(row);
  }
  const found = await get(`api/photo/${number}`).catch(() => null);
  if (!found || shown !== number) {
    return found; // another photo is shown by now
  }
  fill({ ...found, pending: rowOf(number)?.pending });
  fillDetails(found);
  say(describe(found));
  ahead = new Image(); // the next one is there when it is wanted
  const next = view.numbers[focusedPlace() + 1];
  if (next !== undefined) {
    ahead.src = `photo/${next}?side=${side}`;
  }
  return found;
}

function fill(row) {
  const state = stateOf(row);
  find("#large-label").textContent = labelOf(row);
  find("#large-state").textContent = state.words || `${focusedPlace() + 1} of ${view.numbers.length}, to do`;
  large.dataset.state = state.kind;
  find("#large-name").textContent = row.name;
  find("#large-issues").replaceChildren(...(row.why || row.issue ? [make("li", {}, issueText([row.issue, row.suspicion, row.why]))] : []));
  photo.alt = `Photo ${row.name}, ${labelOf(row)}. ${why(row)}`;
}

const issueText = ([name, score, text]) => `${name} (${score.toFixed(2)})${text ? `: ${name === "label" ? "rather " : ""}${text}` : ""}`;

function fillDetails(found) {
  if (found.issues.length) {
    find("#large-issues").replaceChildren(...found.issues.map((issue) => make("li", {}, issueText(issue))));
  }
  find("#best-title").hidden = !found.top.length;
  find("#best").replaceChildren(...found.top.map(([name, share], place) => {
    const button = make("button", { type: "button" }, make("kbd", {}, String(place + 1)), ` ${name} `,
      make("span", { className: "share" }, share === null ? "" : percent(share)));
    if (share !== null) {
      button.style.setProperty("--share", share);
    }
    button.classList.toggle("now", name === found.now);
    button.addEventListener("click", () => choose(name));
    return make("li", {}, button);
  }));
  find("#likes-part").hidden = !found.likes.length;
  find("#likes").replaceChildren(...found.likes.map((like) => {
    const button = make("button", { type: "button", title: `take ${like.label}` },
      make("img", { src: `thumb/${like.n}`, alt: "" }), make("span", {}, like.label), make("small", {}, percent(like.like)));
    button.setAttribute("aria-label", `Look-alike labelled ${like.label}, ${percent(like.like)}: take that label`);
    button.addEventListener("click", () => choose(like.label));
    return make("li", {}, button);
  }));
  find("#history").replaceChildren(...found.history.map((one) => make("li", {},
    `${one.by}: ${one.decision === "class" ? one.new : { accept: "right", no_car: "no car", later: "later" }[one.decision]}, ${one.time.slice(0, 16).replace("T", " ")}`)));
  drawKnown(found);
}

/** The outline where it is known, else the box; in pixels of the photo. */
function drawKnown({ size, outline, box }) {
  const drawing = find("#drawing");
  drawing.replaceChildren();
  if (!size) {
    return;
  }
  drawing.setAttribute("viewBox", `0 0 ${size[0]} ${size[1]}`);
  const add = (tag, attributes) => {
    const shape = document.createElementNS(SVG, tag);
    Object.entries(attributes).forEach(([name, value]) => shape.setAttribute(name, value));
    drawing.append(shape);
  };
  if (box) {
    add("rect", { x: box[0], y: box[1], width: box[2] - box[0], height: box[3] - box[1], class: "box" });
  }
  for (const polygon of outline ?? []) {
    add("polygon", { points: polygon.join(" "), class: "under" });
    add("polygon", { points: polygon.join(" "), class: "edge" });
  }
}

/** Decides about the photo that is shown, and goes on to the next one. */
export function take(decision, name = null) {
  if (decision === "accept" && !rowOf(shown)?.now) {
    say("There is no label to accept: choose a class.");
    return;
  }
  decide([shown], decision, name);
  if (focusedPlace() + 1 < view.numbers.length) {
    step(1);
  } else {
    const row = rowOf(shown);
    if (row) {
      fill(row);
    }
  }
}

export function choose(name) {
  field.clear();
  find("#large-label").focus();
  take(name === rowOf(shown)?.now ? "accept" : "class", name);
}

/** For the photo that is shown now, even if its details come later, or another one is shown by then. */
async function chooseKnown(nameOf) {
  const number = shown;
  const found = await loading;
  const name = found && nameOf(found);
  if (name && shown === number) {
    choose(name);
  } else if (name) {
    decide([number], name === found.now ? "accept" : "class", name);
  }
}

export const chooseBest = (place) => chooseKnown((known) => known.top[place]?.[0]);
export const chooseSuggestion = () => chooseKnown((known) => known.suggestion);

export const chooseClass = () => field.input.focus();
export const toggleDrawing = () => find("#drawing").classList.toggle("off");

photo.addEventListener("load", () => {
  find("#frame").style.aspectRatio = `${photo.naturalWidth} / ${photo.naturalHeight}`;
  find("#frame").style.setProperty("--ratio", photo.naturalWidth / photo.naturalHeight);
  find("#frame").hidden = false;
});
photo.addEventListener("error", () => {
  if (isOpen() && photo.getAttribute("src")) {
    find("#frame").hidden = true;
    find("#unreadable").hidden = false;
  }
});
find("#close").addEventListener("click", close);
for (const button of large.querySelectorAll("[data-step]")) {
  button.addEventListener("click", () => step(Number(button.dataset.step)));
}
for (const button of large.querySelectorAll("[data-decide]")) {
  button.addEventListener("click", () => ({ choose: chooseClass, undo }[button.dataset.decide] ?? (() => take(button.dataset.decide)))());
}
find("#choose").addEventListener("left", () => find("#large-label").focus());

let from = null;
const stage = find("#stage");
stage.addEventListener("touchstart", (event) => {
  from = event.touches.length === 1 ? [event.touches[0].clientX, event.touches[0].clientY] : null;
}, { passive: true });
stage.addEventListener("touchend", (event) => {
  if (!from) {
    return;
  }
  const [x, y] = [event.changedTouches[0].clientX - from[0], event.changedTouches[0].clientY - from[1]];
  from = null;
  if (Math.abs(x) > SWIPE && Math.abs(x) > 2 * Math.abs(y)) {
    step(x < 0 ? 1 : -1);
  }
}, { passive: true });

/** The dialog keeps the focus. */
large.addEventListener("keydown", (event) => {
  if (event.key !== "Tab") {
    return;
  }
  const all = [...large.querySelectorAll("button, input, [tabindex='0']")].filter((one) => one.offsetParent);
  const edge = event.shiftKey ? all[0] : all.at(-1);
  if (document.activeElement === edge || !large.contains(document.activeElement)) {
    event.preventDefault();
    (event.shiftKey ? all.at(-1) : all[0]).focus();
  }
});
onChange((numbers) => {
  const row = isOpen() && numbers?.includes(shown) ? rowOf(shown) : null;
  if (row) {
    fill(row);
  }
});
document.addEventListener("undone", (event) => {
  const place = isOpen() ? view.numbers.indexOf(event.detail[0]) : -1;
  if (place >= 0) {
    goTo(place, { focus: false });
    show();
  }
});
