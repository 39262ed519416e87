// The text with each word coloured by its share, and the card with the numbers of one word.
//
// Words are inline elements, because a button is a box of its own: a line of boxes would put the words of a text that is
// written from right to left in the wrong order.

import { byId, make } from "./dom.js";
import { count, plain, several, side, signed } from "./format.js";

const UNREAD = 400; // characters shown of the part that the model did not read
const LEAVING = 250; // milliseconds until the card closes after the mouse has left the word
const GAP = 6; // CSS pixels between the word and the card

let words = []; // the elements
let shown = null; // what they show: the explanation, its target, and what to do with a word
let kept = null; // the word whose card stays open without the mouse
let leaving = 0;

/** Show a text. `unread` is the number of words that the model did not read. Calls `onWatch(index)` to see a filter read a word. */
export function showWords(text, explanation, target, tokenizer, unread, onWatch) {
  closeCard();
  shown = { explanation, target, onWatch };
  const characters = Array.from(text); // offsets count code points, and JavaScript's strings count UTF-16 units
  const slice = (start, end) => characters.slice(start, end).join("");
  const largest = Math.max(...explanation.words.map(({ share }) => Math.abs(share))) || 1;
  const keepsFirst = tokenizer.truncation_side === "right";
  let end = explanation.words[0]?.start ?? characters.length;
  const parts = unread > 0 && !keepsFirst
    ? [...notRead(unread, (end > UNREAD ? "\u2026 " : "") + slice(Math.max(0, end - UNREAD), end).trim()), " "]
    : [slice(0, end)];
  words = explanation.words.map((word, index) => {
    const element = make("span", {
      role: "button",
      class: `word ${side(word.share)}${word.known ? "" : " unknown"}`,
      tabindex: index ? -1 : 0,
      "aria-label": `${word.text}${word.known ? "" : ", unknown"}: ${plain(word.share)}`,
    }, word.text);
    element.style.setProperty("--strength", Math.abs(word.share / largest).toFixed(4));
    parts.push(slice(end, word.start), element);
    end = word.end;
    return element;
  });
  parts.push(...(unread > 0 && keepsFirst
    ? [" ", ...notRead(unread, slice(end, end + UNREAD).trim() + (characters.length - end > UNREAD ? " \u2026" : ""))]
    : [slice(end)]));
  byId("words").replaceChildren(...(words.length ? parts : [`The text has no words. The model reads only ${tokenizer.start_id === null ? "padding" : "the start id"}.`]));
  byId("legend-for").textContent = `for ${target}`;
  byId("legend-against").textContent = `against ${target}`;
  byId("legend-unknown").hidden = explanation.words.every(({ known }) => known);
  byId("legend-unread").hidden = unread <= 0;
  byId("words-help").hidden = !words.length;
}

function notRead(number, text) {
  return [make("span", { class: "small" }, `Not read, ${several(number, "word")}: `), make("span", { class: "unread" }, text)];
}

/** The strongest filters whose best match contains a word. */
const filtersAt = ({ start, end }) => shown.explanation.filters.filter((each) => each.start < end && start < each.end);

/** Wire the words and the card. The words are one tab stop. Arrow keys, Home and End move between them. */
export function startWords() {
  const box = byId("words");
  const frame = byId("words-frame");
  const ofMouse = (event) => event.pointerType === "mouse";
  box.addEventListener("pointerover", (event) => {
    if (!ofMouse(event)) return;
    if (words.includes(event.target)) openCard(event.target);
    else leaveSoon();
  });
  box.addEventListener("focusin", ({ target }) => keep(target));
  box.addEventListener("click", ({ target }) => { if (words.includes(target)) keep(target); });
  box.addEventListener("scroll", closeCard);
  byId("card").addEventListener("pointerenter", () => clearTimeout(leaving));
  frame.addEventListener("pointerleave", (event) => { if (ofMouse(event)) leaveSoon(); });
  frame.addEventListener("focusout", ({ relatedTarget }) => { if (relatedTarget && !frame.contains(relatedTarget)) closeCard(); });
  document.addEventListener("pointerdown", ({ target }) => { if (!byId("card").contains(target) && !words.includes(target)) closeCard(); });
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") dismiss(); });
  byId("card-watch").addEventListener("click", () => shown.onWatch(Number(byId("card").dataset.index)));
  box.addEventListener("keydown", (event) => {
    const at = words.indexOf(event.target);
    const onward = getComputedStyle(event.target).direction === "rtl" ? -1 : 1;
    const next = words[{ ArrowRight: at + onward, ArrowDown: at + 1, ArrowLeft: at - onward, ArrowUp: at - 1, Home: 0, End: words.length - 1 }[event.key]];
    if (event.key === "Enter" || event.key === " ") event.target.click();
    else if (next) next.focus();
    else return;
    event.preventDefault();
  });
}

/** Open the card of a word until another word gets the focus, a press elsewhere, or Escape. */
function keep(word) {
  kept = word;
  for (const each of words) each.tabIndex = each === word ? 0 : -1;
  openCard(word);
}

function leaveSoon() {
  clearTimeout(leaving);
  leaving = setTimeout(() => { if (kept) openCard(kept); else closeCard(); }, LEAVING);
}

function closeCard() {
  clearTimeout(leaving);
  kept = null;
  byId("card").hidden = true;
  for (const each of words) each.classList.remove("current");
}

/** Close the card. The focus returns to its word if it was in the card. */
function dismiss() {
  const word = words[byId("card").dataset.index];
  const inside = byId("card").contains(document.activeElement);
  if (inside) word.focus();
  closeCard();
}

function openCard(element) {
  clearTimeout(leaving);
  const index = words.indexOf(element);
  const word = shown.explanation.words[index];
  const filters = filtersAt(word).map((each) => `no. ${each.index}`);
  for (const each of words) each.classList.toggle("current", each === element);
  byId("card").dataset.index = index;
  byId("card-word").textContent = word.text;
  byId("card-share").className = side(word.share);
  byId("card-share").textContent = `${signed(word.share)} ${side(word.share)} ${shown.target}`;
  byId("card-known").textContent = word.known ? `Known, id ${count(word.id)}.` : "Unknown. All unknown words have the same id.";
  byId("card-filters").textContent = filters.length
    ? `In the best match of ${filters.length > 1 ? "the filters" : "the filter"} ${filters.join(", ")}.`
    : "In the best match of none of the strongest filters.";
  byId("card").hidden = false;
  place(element);
}

/** Place the card below a word, or above it if there is no room. */
function place(element) {
  const card = byId("card");
  const word = [...element.getClientRects()].at(-1);
  const frame = byId("words-frame").getBoundingClientRect();
  const { width, height } = card.getBoundingClientRect();
  const below = word.bottom + GAP + height < innerHeight || word.top < height + 2 * GAP;
  card.style.left = `${Math.max(0, Math.min(frame.width - width, word.left - frame.left))}px`;
  card.style.top = `${(below ? word.bottom + GAP : word.top - GAP - height) - frame.top}px`;
}
