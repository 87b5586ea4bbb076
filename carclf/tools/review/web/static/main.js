// The start: filters, what is done about many photos, keys, and what others decide meanwhile.

import { find, get, make, say, tell } from "./api.js";
import { classField } from "./choose.js";
import { decide, sendKept, undo } from "./decide.js";
import * as grid from "./grid.js";
import * as large from "./large.js";
import { loadSource, loadView, onChange, poll, rowOf, selected, source, view } from "./store.js";

const POLL = 1500; // milliseconds
const POLL_HIDDEN = 10_000;
const FIELDS = ["show", "issue", "group", "label", "order", "text"];
let like = null;

// ---------------------------------------------------------------- what is shown

function query() {
  const values = Object.fromEntries(FIELDS.map((name) => [name, find(`#${name}`).value.trim()]));
  return like === null ? values : { ...values, like };
}

async function showView(keepPlace = false) {
  const number = view.numbers[grid.focusedPlace()];
  try {
    if (!(await loadView(query()))) {
      return;
    }
  } catch (error) {
    tell(error.message);
    return;
  }
  selected.clear();
  find("#refresh").hidden = true;
  if (keepPlace) {
    grid.reset(Math.max(0, view.numbers.indexOf(number)));
  }
  told();
}

function told() {
  const count = view.numbers.length;
  const some = selected.size;
  find("#shown").textContent = some ? `${some} selected` : `${count.toLocaleString("en")} ${count === 1 ? "photo" : "photos"}`;
  find("#unselect").hidden = !some;
  for (const button of document.querySelectorAll("[data-many]")) {
    button.disabled = !count;
    button.textContent = {
      accept: some ? "Accept" : "Accept all",
      class: some ? "Other class …" : "Other class for all …",
      no_car: some ? "No car" : "No car in all",
    }[button.dataset.many];
  }
}

function fillChoices() {
  const option = (value, text) => make("option", { value, textContent: text });
  const fill = (select, options, all) => {
    const before = select.value;
    select.replaceChildren(option("", all), ...options);
    select.value = before;
  };
  fill(find("#issue"), source.issues.map(([name, count]) => option(name, `${name} (${count})`)), "all");
  find("#issue-field").hidden = !source.issues.length;
  fill(find("#group"), source.groups.map(([name, count]) => option(name, `${name} (${count})`)), "all");
  fill(find("#label"), source.classes.map((name) => option(name, name)), "all");
  find("#order [value=likeness]").disabled = !source.likeness;
  find("#order [value=suspicion]").disabled = !source.suspicion;
}

function showProgress() {
  const { photos, accept, class: changed, no_car: none, later } = source.counts;
  const done = accept + changed + none;
  find("#progress").value = photos ? done / photos : 0;
  const parts = [`${done.toLocaleString("en")} of ${photos.toLocaleString("en")} decided`];
  if (later) {
    parts.push(`${later} later`);
  }
  const others = Object.keys(source.people).filter((name) => name !== find("#by").value.trim());
  if (others.length) {
    parts.push(`also ${others.slice(0, 3).join(", ")}`);
  }
  find("#counted").textContent = parts.join(" · ");
}

export function likeThis(number) {
  like = like === number || !source.likeness ? null : number;
  const button = find("#like");
  button.hidden = like === null;
  button.textContent = like === null ? "" : `like ${rowOf(like)?.name ?? "this one"} ✕`;
  return showView();
}

function groupOfThis(number) {
  const select = find("#group");
  if (select.value) {
    select.value = "";
    return showView(true);
  }
  return get(`api/photo/${number}`).then((found) => {
    select.value = found.group;
    return showView(true);
  });
}

for (const name of FIELDS) {
  let timer = 0;
  find(`#${name}`).addEventListener(name === "text" ? "input" : "change", () => {
    clearTimeout(timer);
    timer = setTimeout(() => showView(), name === "text" ? 250 : 0);
  });
}
find("#filters").addEventListener("submit", (event) => event.preventDefault());
find("#like").addEventListener("click", () => likeThis(like));
find("#refresh").addEventListener("click", () => showView(true));

// ---------------------------------------------------------------- many at once

const ask = find("#ask");
const askField = classField(find("#ask-choose"), "Class", (name) => {
  ask.close();
  decideMany("class", name);
});
const many = () => (selected.size ? [...selected] : view.numbers);

function decideMany(decision, name = null) {
  const numbers = many().filter((number) => decision !== "accept" || rowOf(number)?.now !== "");
  decide(numbers, decision, name).then(() => {
    if (!large.isOpen()) {
      find("#refresh").hidden = false;
    }
  });
  selected.clear();
  grid.draw();
  told();
}

function askMany(decision) {
  const numbers = many();
  const some = numbers.length === 1 ? "this photo" : `${numbers.length.toLocaleString("en")} photos`;
  find("#ask-title").textContent = {
    accept: `Are the labels of ${some} right?`,
    class: `Which class do ${some} show?`,
    no_car: `Do ${some} show no car?`,
  }[decision];
  find("#ask-choose").hidden = decision !== "class";
  const yes = find("#ask-yes");
  yes.hidden = decision === "class";
  yes.textContent = decision === "accept" ? `Accept ${some}` : `No car in ${some}`;
  ask.dataset.decision = decision;
  ask.returnValue = "";
  ask.showModal();
  (decision === "class" ? askField.input : yes).focus();
}

ask.addEventListener("close", () => {
  if (ask.returnValue === "yes") {
    decideMany(ask.dataset.decision);
  }
});
for (const button of document.querySelectorAll("[data-many]")) {
  button.addEventListener("click", () => askMany(button.dataset.many));
}
find("#unselect").addEventListener("click", () => {
  selected.clear();
  grid.selectionChanged();
});
document.addEventListener("selection", told);

/** In the grid: about what is selected, else about the photo in focus, and on to the next one. */
function decideHere(decision, name = null) {
  if (selected.size) {
    decideMany(decision, name);
    return;
  }
  const number = view.numbers[grid.focusedPlace()];
  if (decision === "accept" && !rowOf(number)?.now) {
    say("There is no label to accept: choose a class.");
    return;
  }
  decide([number], decision, name);
  grid.step(1);
}

// ---------------------------------------------------------------- keys

const inLarge = {
  a: () => large.take("accept"), n: () => large.take("no_car"), l: () => large.take("later"), s: large.chooseSuggestion,
  c: large.chooseClass, o: large.toggleDrawing, Escape: large.close, ArrowRight: () => large.step(1), ArrowLeft: () => large.step(-1),
  j: () => large.step(1), k: () => large.step(-1), v: () => likeThis(large.current()).then(large.close),
  g: () => groupOfThis(large.current()).then(large.close),
  ...Object.fromEntries([0, 1, 2, 3, 4].map((place) => [String(place + 1), () => large.chooseBest(place)])),
};
const inGrid = {
  a: () => decideHere("accept"), n: () => decideHere("no_car"), l: () => decideHere("later"), c: () => askMany("class"),
  s: suggestionHere, x: () => grid.toggle(grid.focusedPlace()), " ": () => grid.toggle(grid.focusedPlace()),
  v: () => likeThis(view.numbers[grid.focusedPlace()]), g: () => groupOfThis(view.numbers[grid.focusedPlace()]),
  Enter: large.open, Escape: () => find("#unselect").click(),
  ArrowRight: (shift) => grid.step(1, shift), ArrowLeft: (shift) => grid.step(-1, shift),
  ArrowDown: (shift) => grid.stepRow(1, shift), ArrowUp: (shift) => grid.stepRow(-1, shift),
  PageDown: () => grid.stepPage(1), PageUp: () => grid.stepPage(-1), Home: () => grid.goTo(0),
  End: () => grid.goTo(view.numbers.length - 1),
};

function suggestionHere() {
  const number = view.numbers[grid.focusedPlace()];
  get(`api/photo/${number}`).then((found) => {
    if (found.suggestion && view.numbers[grid.focusedPlace()] === number) {
      decideHere("class", found.suggestion);
    }
  }).catch((error) => tell(error.message));
}

document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input, select, textarea, dialog");
  const pressed = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (typing || event.altKey || ((event.ctrlKey || event.metaKey) && pressed !== "z")) {
    return;
  }
  const onButton = event.target.closest("button, a") && ["Enter", " "].includes(pressed);
  const shared = { u: undo, z: event.ctrlKey || event.metaKey ? undo : null, "?": showHelp, "/": () => find("#text").focus() };
  const inThis = large.isOpen() ? inLarge : inGrid;
  // Only what has the grid's focus, or nothing, means the grid: arrows scroll elsewhere.
  const action = shared[pressed] ?? (onButton ? null : inThis[pressed]);
  if (action && !(event.repeat && /^[a-z1-5]$/.test(pressed))) { // a key that is held decides once
    event.preventDefault();
    action(event.shiftKey);
  }
});

function showHelp() {
  find("#help").showModal();
}

find("#keys").addEventListener("click", showHelp);
find("#undo").addEventListener("click", undo);
document.addEventListener("undone", (event) => {
  const place = view.numbers.indexOf(event.detail[0]);
  if (place >= 0 && !large.isOpen()) {
    grid.goTo(place);
  }
});
grid.whenOpened(large.open);

// ---------------------------------------------------------------- others

let away = false;

async function watch() {
  try {
    await poll();
    if (away) {
      away = false;
      tell("", "#away");
    }
  } catch (error) {
    away = true;
    tell(error.status === 0 ? "The server can't be reached: start `carclf review` again, this page goes on by itself." : error.message, "#away");
  }
  setTimeout(watch, document.hidden ? POLL_HIDDEN : POLL);
}

async function begin() {
  const by = find("#by");
  const first = loadView({ show: "todo" }); // in the server's order, without waiting for what it says of the source
  await loadSource();
  by.value = localStorage.getItem("carclf-review-by") ?? source.person;
  by.addEventListener("change", () => {
    localStorage.setItem("carclf-review-by", by.value.trim());
    showProgress();
  });
  find("#title").textContent = source.title;
  document.title = `Review of ${source.title}`;
  fillChoices();
  find("#order").value = source.order;
  await first;
  told();
  performance.mark("photos"); // they are laid out; benchmarks/review.py reads it
  showProgress();
  onChange(() => showProgress());
  let known = source.classes;
  onChange(() => {
    if (known !== source.classes) {
      known = source.classes;
      fillChoices();
    }
  });
  sendKept();
  document.documentElement.dataset.ready = "yes";
  setTimeout(watch, POLL);
}

begin().catch((error) => tell(error.message));
