// Requests to the server, and elements of the page.

export const find = (selector, within = document) => within.querySelector(selector);

export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

/** The server's refusal, with its sentence; `status` 0 where it can't be reached. */
export class Refusal extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

export async function get(path, values = {}) {
  const query = new URLSearchParams(Object.entries(values).filter(([, value]) => value !== "" && value != null));
  return ask(query.size ? `${path}?${query}` : path, {});
}

export async function post(path, body) {
  return ask(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
}

async function ask(path, options) {
  let answer;
  try {
    answer = await fetch(path, { cache: "no-store", ...options });
  } catch {
    throw new Refusal(0, "The server can't be reached. Is it still running?");
  }
  const said = await answer.json().catch(() => ({}));
  if (!answer.ok) {
    throw new Refusal(answer.status, said.detail ?? `The server answered with status ${answer.status}.`);
  }
  return said;
}

export function newId() {
  return [...crypto.getRandomValues(new Uint8Array(12))].map((one) => one.toString(16).padStart(2, "0")).join("");
}

/** For screen readers. */
export function say(text) {
  find("#live").textContent = text;
}

/** `where`: "#away" for what is wrong with the connection, which goes by itself. */
export function tell(text, where = "#note") {
  const note = find(where);
  note.textContent = text;
  note.hidden = !text;
}

export const percent = (share) => `${share > 0 && share < 0.01 ? "< 1" : Math.round(share * 100)} %`;
