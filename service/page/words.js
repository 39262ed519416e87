// The text with each word coloured by its share, and the card with the numbers of one word.
//
// Words are inline elements, because a button is a box of its own: a line of boxes would put the words of a text that is
// written from right to left in the wrong order.

import { byId, make } from "./dom.js";
import { count, several, side, signed } from "./format.js";

const FULL_SHARE = 1; // the least share of a logit that gets the full colour: a text whose words all say little stays pale
const UNREAD = 400; // characters shown of the part that the model did not read
const LEAVING = 250; // milliseconds until the card closes after the mouse has left the word
const GAP = 6; // CSS pixels between the word and the card

let words = []; // the elements
let shown = null; // what they show: the explanation, the balance of its words, and what to do with a word
let kept = null; // the word whose card stays open without the mouse
let leaving = 0;

/**
 * Show a text, coloured by a balance of `balance.js`. `unread` is the number of words that the model did not read. Calls
 * `onWatch(index)` to see a filter read a word.
 */
export function showWords(text, explanation, balance, tokenizer, unread, onWatch) {
  closeCard();
  shown = { explanation, balance, onWatch };
  const { slice, start, end } = extentOf(text, explanation.words);
  const keepsFirst = tokenizer.truncation_side === "right";
  words = colour(explanation.words, balance.shares, ({ text: word, known }, index) => ({
    role: "button", tabindex: index ? -1 : 0, "aria-label": `${word}${known ? "" : ", unknown"}, ${effectOf(index)}`,
  }));
  const before = unread > 0 && !keepsFirst
    ? [...notRead(unread, (start > UNREAD ? "\u2026 " : "") + slice(Math.max(0, start - UNREAD), start).trim()), " "]
    : [slice(0, start)];
  const behind = unread > 0 && keepsFirst
    ? [" ", ...notRead(unread, slice(end, end + UNREAD).trim() + (slice(end + UNREAD) ? " \u2026" : ""))]
    : [slice(end)];
  const parts = [...before, ...spaced(slice, explanation.words, words), ...behind];
  byId("words").replaceChildren(...(words.length ? parts : [`The text has no words. The model reads only ${tokenizer.start_id === null ? "padding" : "the start id"}.`]));
  byId("legend-for").textContent = balance.rising;
  byId("legend-against").textContent = balance.falling;
  byId("legend-unknown").hidden = explanation.words.every(({ known }) => known);
  byId("legend-unread").hidden = unread <= 0;
  byId("words-help").hidden = !words.length;
}

/** What a word adds, with two decimals, and what that speaks for. */
function effectOf(index) {
  const { shares, rising, falling } = shown.balance;
  return `${signed(shares[index], 2)} ${shares[index] < 0 ? falling : rising}`;
}

/** Where the words that the model read start and end in a text, and a function that cuts it. Offsets count code points, and JavaScript's strings count UTF-16 units. */
export function extentOf(text, read) {
  const characters = Array.from(text);
  const end = read.length ? read.reduce((most, word) => Math.max(most, word.end), 0) : characters.length;
  return { slice: (from, to) => characters.slice(from, to).join(""), start: read[0]?.start ?? characters.length, end };
}

/** Create an element for each word, coloured by its share. `describe(word, index)` returns its other attributes. */
export function colour(read, shares, describe) {
  const full = Math.max(FULL_SHARE, ...shares.map(Math.abs));
  return read.map((word, index) => {
    const element = make("span", { class: `word ${side(shares[index])}${word.known ? "" : " unknown"}`, ...describe(word, index) }, ownText(word, read[index - 1]));
    element.style.setProperty("--strength", Math.abs(shares[index] / full).toFixed(4));
    return element;
  });
}

/** What a word shows: the characters that the word before it does not show. Tokens of one character, such as the bytes of an emoji, share it. */
function ownText(word, before) {
  const shown = before && !startsAgain(word, before) ? Math.max(0, before.end - word.start) : 0;
  return Array.from(word.text).slice(shown).join("") || "\u00b7";
}

/** Whether a word is the first n-gram after the words, or after shorter n-grams. */
const startsAgain = (word, before) => word.start < before.start;

/** The elements of words, each after the characters between it and the last word. N-grams follow on a new line. */
export function spaced(slice, read, elements) {
  const between = (before, word) => startsAgain(word, before) ? make("br") : slice(before.end, word.start);
  return elements.flatMap((element, index) => [index ? between(read[index - 1], read[index]) : "", element]);
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
  byId("card-share").className = side(shown.balance.shares[index]);
  byId("card-share").textContent = effectOf(index);
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
