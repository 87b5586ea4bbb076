// Decisions on their way: shown as saved when the server has them on disk, sent again until then, kept over a reload.

import { find, newId, post, say, tell } from "./api.js";
import { keep, learnClass, rowOf, setPending, source, takeProgress } from "./store.js";

const AT_ONCE = 500;
const WAITS = [0.5, 1, 2, 4]; // seconds between tries
let underWay = Promise.resolve();
let waiting = [];

const place = () => `carclf-review:${source.title}`;
const person = () => find("#by").value.trim() || "somebody";
const WORDS = { accept: "accepted", no_car: "no car", later: "later" };
export const inWords = (decision, name) => WORDS[decision] ?? name;

/** Decides about photos by their numbers; those whose row is not known only where nobody has decided yet. */
export function decide(numbers, decision, name = null) {
  const by = person();
  const batch = newId();
  const parts = [];
  for (let start = 0; start < numbers.length; start += AT_ONCE) {
    const items = numbers.slice(start, start + AT_ONCE).map((n) => ({ n, seen: rowOf(n)?.state?.id ?? "", id: newId() }));
    parts.push({ by, decision, new: name, batch, items });
  }
  for (const part of parts) {
    part.items.forEach(({ n }) => setPending(n, inWords(decision, name)));
    waiting.push(part);
  }
  remember();
  const total = numbers.length;
  for (const part of parts) {
    underWay = underWay.then(() => send(part, total));
  }
  learnClass(name);
  return underWay;
}

export function undo() {
  const by = person();
  underWay = underWay.then(async () => {
    try {
      const done = await post("api/undo", { by });
      keep(done.undone);
      takeProgress(done);
      const names = done.undone.map((row) => row.name);
      say(done.count ? `Undone: ${done.count === 1 ? names[0] : `${done.count} photos`}.` : "You have decided nothing yet.");
      document.dispatchEvent(new CustomEvent("undone", { detail: done.undone.map((row) => row.n) }));
    } catch (error) {
      tell(error.message);
    }
  });
  return underWay;
}

/** Sends what an earlier page of this browser could not. */
export function sendKept() {
  let kept = [];
  try {
    kept = JSON.parse(localStorage.getItem(place()) ?? "[]");
  } catch {
    // somebody else's entry
  }
  for (const part of kept) {
    waiting.push(part);
    underWay = underWay.then(() => send(part, part.items.length));
  }
}

async function send(part, total) {
  for (let tries = 0; ; tries += 1) {
    try {
      take(part, await post("api/decide", part), total);
      return;
    } catch (error) {
      if (error.status && error.status !== 503 && error.status < 507) {
        forget(part);
        tell(`Not saved: ${error.message}`);
        return;
      }
      const many = waiting.reduce((sum, one) => sum + one.items.length, 0);
      tell(`${many === 1 ? "1 decision is" : `${many} decisions are`} not saved yet: ${error.message} Trying again …`, "#away");
      await new Promise((resolve) => setTimeout(resolve, 1000 * WAITS[Math.min(tries, WAITS.length - 1)]));
    }
  }
}

function take(part, answer, total) {
  forget(part);
  keep([...answer.saved, ...answer.conflicts]);
  takeProgress(answer);
  tell("");
  if (!waiting.length) {
    tell("", "#away");
  }
  const told = [];
  if (answer.conflicts.length) {
    const others = [...new Set(answer.conflicts.map((row) => row.state?.by ?? "somebody"))].join(", ");
    const some = answer.conflicts.length === 1 ? "this photo" : `${answer.conflicts.length} photos`;
    told.push(`${others} decided about ${some} meanwhile, and that stays. Decide again to change it.`);
  }
  told.push(...answer.gone.slice(0, 3).map(([, why]) => why));
  if (told.length) {
    tell(told.join(" "));
  }
  const words = inWords(part.decision, part.new);
  say(total === 1 && answer.saved.length ? `Saved: ${answer.saved[0].name}, ${words}.` : `Saved: ${total} photos, ${words}.`);
}

function forget(part) {
  waiting = waiting.filter((one) => one !== part);
  remember();
  part.items.forEach(({ n }) => setPending(n, null));
}

function remember() {
  try {
    if (waiting.length) {
      localStorage.setItem(place(), JSON.stringify(waiting));
    } else {
      localStorage.removeItem(place());
    }
  } catch {
    // full, or not allowed: they are still in this tab
  }
}

addEventListener("beforeunload", (event) => {
  if (waiting.length) {
    event.preventDefault();
  }
});
