// A field for the name of a class, with what is known completed: by any part of the name, with arrows and Enter.

import { make } from "./api.js";
import { source } from "./store.js";

const MOST = 40;
let numbers = 0;

/** Fills a box with the field; `chosen` is called with the name. */
export function classField(box, label, chosen) {
  numbers += 1;
  const list = make("ul", { id: `classes-${numbers}`, role: "listbox", className: "classes", hidden: true });
  list.setAttribute("aria-label", "Classes");
  const input = make("input", { type: "text", autocomplete: "off", spellcheck: false, maxLength: 200 });
  for (const [name, value] of Object.entries({
    role: "combobox",
    "aria-expanded": "false",
    "aria-autocomplete": "list",
    "aria-controls": list.id,
  })) {
    input.setAttribute(name, value);
  }
  box.replaceChildren(make("label", { className: "field" }, label, " ", input), list);
  let names = [];
  let at = -1;

  function show() {
    names = matches(input.value);
    at = names.length ? 0 : -1;
    list.replaceChildren(...names.map(({ name, isNew }, place) => {
      const option = make("li", { role: "option", id: `${list.id}-${place}`, textContent: isNew ? `New class: ${name}` : name });
      option.addEventListener("pointerdown", (event) => event.preventDefault()); // or the field loses the focus first
      option.addEventListener("click", () => take(place));
      return option;
    }));
    open(names.length > 0);
    mark();
  }
  function open(wanted) {
    list.hidden = !wanted;
    input.setAttribute("aria-expanded", String(wanted));
  }
  function mark() {
    [...list.children].forEach((option, place) => option.setAttribute("aria-selected", String(place === at)));
    if (at >= 0) {
      input.setAttribute("aria-activedescendant", list.children[at].id);
      list.children[at].scrollIntoView({ block: "nearest" });
    } else {
      input.removeAttribute("aria-activedescendant");
    }
  }
  function take(place) {
    const name = names[place]?.name;
    if (name) {
      clear();
      chosen(name);
    }
  }
  function clear() {
    input.value = "";
    open(false);
    at = -1;
  }

  input.addEventListener("input", show);
  input.addEventListener("focus", show);
  input.addEventListener("blur", () => open(false));
  input.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      at = names.length ? (at + (event.key === "ArrowDown" ? 1 : -1) + names.length) % names.length : -1;
      mark();
    } else if (event.key === "Enter") {
      event.preventDefault();
      take(at);
    } else if (event.key === "Escape") {
      event.preventDefault();
      event.stopPropagation();
      clear();
      input.blur();
      box.dispatchEvent(new CustomEvent("left", { bubbles: true }));
    }
  });
  return { input, clear };
}

/** Known classes that hold each word of the text, those that begin with it first; and the text itself where it is new. */
function matches(text) {
  const wanted = text.trim().toLowerCase();
  const words = wanted.split(/\s+/).filter(Boolean);
  const found = source.classes.filter((name) => words.every((word) => name.toLowerCase().includes(word)));
  const rank = (name) => {
    const low = name.toLowerCase();
    return low === wanted ? 0 : low.startsWith(wanted) ? 1 : low.includes(` ${wanted}`) ? 2 : 3;
  };
  const sorted = found.map((name) => [rank(name), name]).sort((one, other) => one[0] - other[0]).slice(0, MOST);
  const known = sorted.map(([, name]) => ({ name, isNew: false }));
  const plain = text.trim().replace(/\s+/g, " ");
  return plain && !source.classes.includes(plain) ? [...known, { name: plain, isNew: true }] : known;
}
