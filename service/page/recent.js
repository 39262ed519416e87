// The last texts of the reader. The tab keeps them, so that they survive a reload. They are sent to nobody.

import { byId, fillSelect } from "./dom.js";
import { drop, keep, recall } from "./storage.js";

const TEXTS = 10;
const CHARACTERS = 10_000; // of the longest text that is kept
const SHOWN = 60; // characters of a text in the list

const KEY = `texts ${new URL(".", document.baseURI)}`; // the same host can have other services, under other paths

/** Wire the list. Calls `onChoice(text)` when a text is chosen, and `onForget()` after all are forgotten. */
export function startRecent(onChoice, onForget) {
  byId("recent-choice").addEventListener("change", ({ target }) => {
    onChoice(texts()[target.value]);
    target.value = "";
  });
  byId("forget").addEventListener("click", () => {
    drop(KEY);
    show();
    onForget();
  });
  show();
}

/** The text that was kept last; an empty text if there is none. */
export const newestText = () => texts()[0] ?? "";

/** Keep a text, unless it is blank or too long. It takes the place of the newest text if it continues it. */
export function keepText(text) {
  if (!text.trim() || Array.from(text).length > CHARACTERS) return;
  const [newest = "", ...older] = texts();
  const others = text.startsWith(newest) ? older : [newest, ...older];
  keep(KEY, JSON.stringify([text, ...others.filter((each) => each !== text)].slice(0, TEXTS)));
  show();
}

function texts() {
  try {
    return JSON.parse(recall(KEY)) ?? [];
  } catch {
    return []; // another page of this host has written it
  }
}

function show() {
  const all = texts();
  byId("recent").hidden = !all.length;
  fillSelect(byId("recent-choice"), [["", "choose one"], ...all.map((text, index) => [index, shorten(text)])]);
}

function shorten(text) {
  const characters = Array.from(text.trim().replace(/\s+/g, " "));
  return characters.length > SHOWN ? `${characters.slice(0, SHOWN).join("")}\u2026` : characters.join("");
}
