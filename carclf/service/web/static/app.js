"use strict";

const LONGEST_SIDE = 2048; // what is larger is shrunk before it is sent: the models look at less
const AS_IT_IS = 1_500_000; // bytes up to which a photo of that size is sent unchanged
const AT_ONCE = 4; // requests under way
const TRIES = 20; // while the service is busy
const SENT_AS_THEY_ARE = ["image/jpeg", "image/png", "image/webp"];
const NONE_FOUND = ["", "no vehicle found in the photo"];
const NONE_SEEN = "I looked for one and found none. It helps when the whole car is in the photo.";
const SVG = "http://www.w3.org/2000/svg";

const find = (selector, within = document) => within.querySelector(selector);
const results = find("#results");
const waiting = []; // cards whose turn has not come
const withoutKey = []; // cards that were refused for want of a key
let underWay = 0;
let drags = 0;

// ---------------------------------------------------------------- photos in

for (const input of [find("#files"), find("#camera")]) {
  input.addEventListener("change", () => {
    take([...input.files]);
    input.value = ""; // so that the same photo can be chosen again
  });
}
document.addEventListener("paste", (event) => take([...(event.clipboardData?.files ?? [])]));
document.addEventListener("dragenter", (event) => {
  if (event.dataTransfer?.types.includes("Files")) {
    drags += 1;
    document.body.classList.add("dragging");
  }
});
document.addEventListener("dragleave", () => {
  drags = Math.max(0, drags - 1);
  document.body.classList.toggle("dragging", drags > 0);
});
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => {
  event.preventDefault();
  drags = 0;
  document.body.classList.remove("dragging");
  take([...(event.dataTransfer?.files ?? [])]);
});

/** Makes a card for each file, in their order, above those of before. */
function take(files) {
  const cards = files.map(makeCard);
  document.body.classList.toggle("used", cards.length > 0 || results.children.length > 0);
  results.prepend(...cards.map((card) => card.element));
  if (cards.length > 0) {
    say(cards.length === 1 ? `Looking at ${files[0].name}.` : `Looking at ${cards.length} photos.`);
    cards[0].element.scrollIntoView({ block: "nearest" });
  }
  for (const card of cards) {
    queue(card);
  }
}

function makeCard(file) {
  const element = find("#card").content.firstElementChild.cloneNode(true);
  const card = { element, file, url: URL.createObjectURL(file), abort: new AbortController(), tries: 0 };
  const name = file.name || "pasted photo";
  find("figure > figcaption", element).textContent = name;
  const photo = find(".frame > img", element);
  photo.alt = `The photo ${name}`;
  photo.addEventListener("load", () => {
    const { width, aspectRatio } = frameOf(photo);
    Object.assign(find(".frame", element).style, { width, aspectRatio });
    find(".photo", element).classList.add("seen");
  });
  photo.src = card.url;
  const remove = find(".remove", element);
  remove.setAttribute("aria-label", `Remove ${name}`);
  remove.addEventListener("click", () => {
    const next = element.nextElementSibling ?? element.previousElementSibling;
    card.abort.abort();
    URL.revokeObjectURL(card.url);
    element.remove();
    (next ?? find("#files")).focus(); // else keyboard users would start from the page's top
  });
  find(".again", element).addEventListener("click", () => {
    card.tries = 0;
    element.focus();
    queue(card);
  });
  return card;
}

// ---------------------------------------------------------------- under way

function queue(card) {
  show(card, "waiting", "Waiting for its turn …", "");
  waiting.push(card);
  next();
}

function next() {
  while (underWay < AT_ONCE && waiting.length > 0) {
    const card = waiting.shift();
    if (card.abort.signal.aborted) {
      continue;
    }
    underWay += 1;
    ask(card)
      .catch((error) => {
        if (!card.abort.signal.aborted) {
          console.error(error);
          fail(card, "The service can't be reached. Is it still running?");
        }
      })
      .finally(() => {
        underWay -= 1;
        next();
      });
  }
}

async function ask(card) {
  show(card, "waiting", "Looking …", "");
  const photo = await prepare(card.file);
  const limit = Number(document.documentElement.dataset.maxPhotoBytes);
  if (photo.size > limit) {
    show(card, "unreadable", "This file is too large", `At most ${Math.round(limit / 1e5) / 10} MB are taken.`);
    return;
  }
  const form = new FormData();
  form.append("photos", photo, card.file.name || "pasted photo");
  const key = sessionStorage.getItem("key");
  const answer = await fetch("predict?pictures=true", {
    method: "POST",
    body: form,
    headers: key ? { "X-API-Key": key } : {},
    signal: card.abort.signal,
  });
  const said = await answer.json().catch(() => ({}));
  if (answer.status === 401) {
    show(card, "waiting", "An API key is needed", "");
    withoutKey.push(card);
    askForKey(Boolean(key));
  } else if (answer.status === 503 && card.tries < TRIES) {
    card.tries += 1;
    const seconds = Math.max(1, Number(answer.headers.get("Retry-After")) || 2);
    later(card, seconds);
  } else if (said.answers?.length) {
    showAnswer(card, said.answers[0]);
  } else if (answer.status >= 500) {
    fail(card, said.detail || `The service answered with status ${answer.status}.`);
  } else {
    show(card, "unreadable", "This can't be looked at", said.detail || `Status ${answer.status}.`);
    say(`${card.file.name}: ${said.detail ?? "refused"}`);
  }
}

function later(card, seconds) {
  const words = seconds === 1 ? "a second" : `${seconds} seconds`;
  show(card, "busy", "The service is busy", `Trying again in ${words}. Nothing is lost.`);
  setTimeout(() => card.abort.signal.aborted || queue(card), seconds * 1000);
}

/** The photo, smaller where it is large; in an upright copy where this browser reads what the service may not. */
async function prepare(file) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, { imageOrientation: "from-image" });
  } catch {
    return file; // not for this browser: the service says what it makes of it
  }
  const scale = LONGEST_SIDE / Math.max(bitmap.width, bitmap.height);
  if (SENT_AS_THEY_ARE.includes(file.type) && (scale >= 1 || file.size <= AS_IT_IS / 4) && file.size <= AS_IT_IS) {
    bitmap.close();
    return file;
  }
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(bitmap.width * Math.min(1, scale)));
  canvas.height = Math.max(1, Math.round(bitmap.height * Math.min(1, scale)));
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff"; // what is transparent becomes white, as the service does it
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  const smaller = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.92));
  return smaller ?? file;
}

// ---------------------------------------------------------------- answers

function showAnswer(card, answer) {
  const { element } = card;
  if (answer.status === "error") {
    fail(card, `${sentence(answer.reason)} The photo may still work a second time.`);
    return;
  }
  const said = {
    ok: [answer.confidence >= 0.5 ? (answer.said ?? answer.label) : `Perhaps: ${answer.label}`, `${sure(answer.confidence)}, ${percent(answer.confidence)}`],
    unknown: ["A car, but none that I know for sure", "It comes closest to these:"],
    no_car: ["No car here", NONE_FOUND.includes(answer.reason) ? NONE_SEEN : sentence(answer.reason)],
    unreadable: ["This photo can't be read", sentence(answer.reason)],
  }[answer.status];
  show(card, answer.status, ...said);
  element.dataset.sure = answer.confidence >= 0.5 ? "yes" : "no";
  if (answer.status === "ok" && answer.reason) {
    find(".text", element).textContent += ` (${answer.reason.split(";")[0]})`;
  }
  const paint = find(".paint", element);
  paint.hidden = !answer.colour;
  paint.textContent = answer.colour ? `Colour: ${answer.colour}` : "";
  showGuesses(find(".guesses", element), answer.top);
  if (answer.status === "no_car") {
    answer = { ...answer, cutout: null, outline: null }; // something was found, and is no car
  }
  const cutout = find(".cutout", element);
  cutout.hidden = !answer.cutout?.startsWith("data:image/");
  if (!cutout.hidden) {
    const picture = find("img", cutout);
    picture.src = answer.cutout;
    picture.alt = "The car, cut out of the photo";
  }
  drawOutline(card, answer);
  say(`${card.file.name || "pasted photo"}: ${said[0]}. ${answer.status === "ok" ? said[1] : ""}`);
}

function show(card, state, title, text) {
  const { element } = card;
  element.dataset.state = state;
  element.setAttribute("aria-busy", String(state === "waiting" || state === "busy"));
  find("h2", element).textContent = title;
  find(".text", element).textContent = text;
  find("progress", element).hidden = !(state === "waiting" || state === "busy");
  find(".again", element).hidden = state !== "error";
  find(".paint", element).hidden = true;
  find(".guesses", element).hidden = true;
  find(".cutout", element).hidden = true;
  find(".outline", element).replaceChildren();
}

function fail(card, text) {
  show(card, "error", "That did not work", text);
  say(`${card.file.name || "pasted photo"}: ${text}`);
}

function showGuesses(list, guesses) {
  list.hidden = guesses.length === 0;
  list.replaceChildren(
    ...guesses.map(({ label, probability }) => {
      const row = document.createElement("li");
      const [name, share, bar, filled] = ["span", "span", "div", "span"].map((tag) => document.createElement(tag));
      name.className = "name";
      name.textContent = label;
      share.className = "share";
      share.textContent = percent(probability);
      bar.className = "bar";
      filled.style.width = `${Math.max(0, Math.min(1, probability)) * 100}%`;
      bar.append(filled);
      row.append(name, share, bar);
      return row;
    }),
  );
}

/** The car's edge, and a shade over all that is not the car. */
function drawOutline(card, answer) {
  const drawing = find(".outline", card.element);
  if (!answer.outline?.length || !answer.width) {
    return;
  }
  drawing.setAttribute("viewBox", `0 0 ${answer.width} ${answer.height}`);
  const edge = answer.outline.map((points) => `M${points.map(([x, y]) => `${x} ${y}`).join("L")}Z`).join("");
  const frame = `M0 0H${answer.width}V${answer.height}H0Z`;
  for (const [kind, path] of [["around", frame + edge], ["under", edge], ["edge", edge]]) {
    const shape = document.createElementNS(SVG, "path");
    shape.setAttribute("class", kind);
    shape.setAttribute("d", path);
    drawing.append(shape);
  }
}

/** As wide as there is room for, not too high, and a small picture not blown up much. */
function frameOf({ naturalWidth: width, naturalHeight: height }) {
  const ratio = width / height;
  return { width: `min(100%, ${26 * ratio}rem, ${2 * width}px)`, aspectRatio: `${width} / ${height}` };
}

function sure(confidence) {
  const words = [[0.95, "Very sure"], [0.8, "Fairly sure"], [0.5, "Probably"]];
  return words.find(([least]) => confidence >= least)?.[1] ?? "Only a guess";
}

function percent(probability) {
  const value = probability * 100;
  return value > 0 && value < 1 ? "< 1 %" : `${value > 99 && value < 100 ? "> 99" : Math.round(value)} %`;
}

function sentence(reason) {
  const text = reason || "There is no more to say about it.";
  return text[0].toUpperCase() + text.slice(1) + (text.endsWith(".") ? "" : ".");
}

function say(text) {
  find("#live").textContent = text;
}

// ---------------------------------------------------------------- key, state of the service

function askForKey(wrong) {
  const form = find("#key-form");
  find("label", form).textContent = wrong ? "That is not the API key. Try again:" : "This service wants an API key.";
  form.hidden = false;
  find("#key").focus();
}

find("#key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("key", find("#key").value.trim());
  find("#key").value = "";
  find("#key-form").hidden = true;
  for (const card of withoutKey.splice(0)) {
    queue(card);
  }
});

async function watchService() {
  const note = find("#note");
  try {
    const answer = await fetch("readyz", { cache: "no-store" });
    await answer.text(); // or the connection stays busy
    note.hidden = answer.ok;
    note.textContent = "The models are still being loaded. Photos are answered as soon as they are there.";
  } catch {
    note.hidden = false;
    note.textContent = "The service can't be reached.";
  }
  if (!note.hidden) {
    setTimeout(watchService, 1000);
  }
}

if (document.documentElement.dataset.key === "required" && !sessionStorage.getItem("key")) {
  askForKey(false);
}
watchService();
