// "Try it": the prediction, the words with their shares, and their sum.

import { byId, fillTable, make, meter } from "./dom.js";
import { count, percent, plain, several, side, signed } from "./format.js";

// The number of characters shown of the part that the model did not read.
const UNREAD = 400;

let words = []; // the buttons

/** The ids of a prediction that stand for words. */
const wordCount = (prediction, tokenizer) => prediction.tokens - (tokenizer.start_id === null ? 0 : 1);

/** Label, probabilities and counts. */
export function showPrediction(prediction, tokenizer) {
  byId("verdict").classList.remove("waiting");
  byId("label").textContent = prediction.label;
  byId("probabilities").replaceChildren(...Object.entries(prediction.probabilities).map(([label, probability]) => meter(label, percent(probability), probability)));
  byId("answered-by").textContent = `${prediction.model.name}, version ${prediction.model.version}`;
  byId("counts").textContent = [
    several(Math.max(0, wordCount(prediction, tokenizer)), "word"),
    prediction.unknown_tokens ? `${count(prediction.unknown_tokens)} unknown` : "",
    prediction.truncated ? `too long: the model reads only the ${tokenizer.truncation_side === "right" ? "beginning" : "end"}` : "",
  ].filter(Boolean).join(" · ");
}

/** Show the text, with each word coloured by its share of the logit of `target`. Calls `onTake(index)` when a word is chosen. */
export function showExplanation(text, explanation, target, tokenizer, onTake) {
  const characters = Array.from(text); // offsets count code points, and JavaScript's strings count UTF-16 units
  const [strongest] = explanation.words.toSorted((one, other) => Math.abs(other.share) - Math.abs(one.share));
  byId("legend-for").textContent = `for ${target}`;
  byId("legend-against").textContent = `against ${target}`;
  const parts = [];
  let end = explanation.words.length ? explanation.words[0].start : characters.length;
  const unread = explanation.prediction.truncated ? wordCount(explanation.prediction, tokenizer) - explanation.words.length : 0;
  const keepsFirst = tokenizer.truncation_side === "right";
  if (unread > 0 && !keepsFirst) {
    const shown = characters.slice(Math.max(0, end - UNREAD), end).join("").trim();
    parts.push(...notRead(unread, (end > UNREAD ? "… " : "") + shown), " ");
  } else {
    parts.push(characters.slice(0, end).join(""));
  }
  words = explanation.words.map((word, index) => {
    parts.push(characters.slice(end, word.start).join(""));
    const button = make("button", {
      type: "button",
      class: `word ${side(word.share)}${word.known ? "" : " unknown"}`,
      tabindex: index ? -1 : 0,
      "aria-label": `${word.text}${word.known ? "" : ", unknown"}: ${plain(word.share)}`,
    }, word.text);
    button.style.setProperty("--strength", Math.abs(word.share / (strongest.share || 1)).toFixed(4));
    button.addEventListener("pointerenter", () => read(word, target));
    button.addEventListener("focus", () => { stopAt(button); read(word, target); });
    button.addEventListener("click", () => onTake(index));
    parts.push(button);
    end = word.end;
    return button;
  });
  const rest = characters.slice(end);
  if (unread > 0 && keepsFirst) {
    parts.push(" ", ...notRead(unread, rest.slice(0, UNREAD).join("").trim() + (rest.length > UNREAD ? " …" : "")));
  } else {
    parts.push(rest.join(""));
  }
  const nothing = `The text has no words. The model reads only ${tokenizer.start_id === null ? "padding" : "the start id"}.`;
  byId("words").replaceChildren(...(words.length ? parts : [nothing]));
  if (strongest) read(strongest, target); else byId("readout").replaceChildren();
  showSum(explanation, target, tokenizer);
  fillTable(byId("words-table"), ["word", "id", `share of the logit of ${target}`],
    explanation.words.map((word) => [word.text, word.known ? count(word.id) : `${word.id} (unknown)`, signed(word.share)]), [1, 2]);
}

function notRead(count, text) {
  return [make("span", { class: "small" }, `Not read, ${several(count, "word")}: `), make("span", { class: "unread" }, text)];
}

function read(word, target) {
  byId("readout").replaceChildren(
    make("b", {}, `\u201c${word.text}\u201d`), " adds ", make("b", { class: side(word.share) }, signed(word.share)),
    `, ${side(word.share)} ${target}. ${word.known ? `Its id is ${count(word.id)}.` : "The model does not know this word. All unknown words have the same id."}`);
}

function showSum(explanation, target, tokenizer) {
  const sum = explanation.words.reduce((total, word) => total + word.share, 0);
  const box = (number, name) => make("div", {}, make("b", { class: side(number) }, signed(number)), make("span", {}, name));
  byId("sum").replaceChildren(
    box(sum, "all words"), make("i", {}, "+"), box(explanation.padding, tokenizer.start_id === null ? "padding" : "padding and start"), make("i", {}, "+"),
    box(explanation.bias, "constant"), make("i", {}, "="), box(explanation.logit, `logit of ${target}`));
}

/** Show the strongest filters with the words beneath them. Calls `onWatch(filter)` to show one as it slides. */
export function showFilters(text, explanation, onWatch) {
  const characters = Array.from(text);
  fillTable(byId("filters"), ["best match", "value", "weight", "moves the logit by", "filter"],
    explanation.filters.map((each) => {
      const watch = make("button", { type: "button", "aria-label": `Watch filter ${each.index} of width ${each.width} slide` }, `${each.width} wide, no. ${each.index}`);
      watch.addEventListener("click", () => onWatch(each));
      const move = each.activation * each.weight;
      return [
        each.end ? characters.slice(each.start, each.end).join("").replace(/\s+/g, " ") : "(outside the words)",
        plain(each.activation), plain(each.weight), make("span", { class: side(move) }, signed(move)), watch,
      ];
    }), [1, 2, 3]);
}

/** Mark the words beneath the filter, by their indices. */
export function markWords(marked) {
  words.forEach((word, index) => word.classList.toggle("marked", marked.includes(index)));
}

/** Make a word the one that the tab key reaches. */
function stopAt(button) {
  for (const each of words) each.tabIndex = each === button ? 0 : -1;
}

/** Make the words one tab stop. Arrow keys, Home and End move between them. */
export function walkWithKeys() {
  byId("words").addEventListener("keydown", (event) => {
    const at = words.indexOf(event.target);
    const next = words[{ ArrowRight: at + 1, ArrowDown: at + 1, ArrowLeft: at - 1, ArrowUp: at - 1, Home: 0, End: words.length - 1 }[event.key]];
    if (!next) return;
    event.preventDefault();
    next.focus();
  });
}
