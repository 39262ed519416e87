// A row of "Many texts". It opens to the words of its text.

import { isolate, make } from "./dom.js";
import { count, percent, several, side, signed } from "./format.js";
import { Trouble } from "./service.js";
import { colour, extentOf, spaced } from "./words.js";

const COLUMNS = 5; // of the table
const STRONGEST = 3; // words of each side that are named

let parts = null; // what `startRows` was given

/**
 * Wire all rows. `explain(text, model)` requests an explanation, `target(explanation)` returns the label whose logit it
 * explains, and `onTry(model, text)` shows a text under "Try it".
 */
export function startRows(given) {
  parts = given;
}

/** What a reader has to know about the label of a row. */
export function noteOf({ confident, known, error }) {
  if (error) return error;
  return known ? (confident === false ? "not sure" : "") : "no known word";
}

/** Create the row of a text with its prediction or its error. Only if it is opened, its words are requested. */
export function rowOf(row) {
  const { number, text, label, score, known, tokens, error } = row;
  const quantity = (value) => make("td", { class: "quantity" }, value);
  const note = make("span", { class: error ? "problem" : "small" }, noteOf(row));
  const answer = known ? [label, " ", note] : [note];
  const head = error ? count(number) : make("button", { type: "button", class: "plain open", "aria-expanded": "false", "aria-label": `Words of text ${count(number)}` }, count(number));
  const element = make("tr", error ? {} : { class: "opens" }, make("td", {}, head), make("td", { class: "text" }, isolate(text)), make("td", {}, ...answer),
    quantity(error ? "" : percent(score)), quantity(error ? "" : count(tokens)));
  if (!error) element.addEventListener("click", ({ target }) => { if (target === head || !getSelection().toString()) toggle(element, head, row); });
  return element;
}

function toggle(element, button, row) {
  const opens = button.ariaExpanded === "false";
  button.ariaExpanded = String(opens);
  if (!opens) {
    element.nextElementSibling.remove();
    return;
  }
  const cell = make("td", { colspan: COLUMNS });
  element.after(make("tr", { class: "opened" }, cell));
  fill(cell, row);
}

/** Request the words of a row, and show them in a cell. */
async function fill(cell, row) {
  const { text, number, prediction } = row;
  cell.replaceChildren(make("p", { class: "small", role: "status" }, "Asking for the words\u2026"));
  try {
    const explanation = await parts.explain(text, prediction.model);
    cell.replaceChildren(...wordsOf(text, number, explanation), tryButton(row));
  } catch (error) {
    if (!(error instanceof Trouble)) throw error;
    const never = error.code === "not_explainable";
    const message = never ? "There is no exact explanation for this model: no sum of its words is the decision." : error.message;
    const again = make("button", { type: "button" }, "Try again");
    again.addEventListener("click", () => fill(cell, row));
    cell.replaceChildren(make("p", { class: "small", role: "alert" }, message), never ? tryButton(row) : again);
  }
}

function tryButton({ text, prediction }) {
  const button = make("button", { type: "button" }, "Open under Try it");
  button.addEventListener("click", () => parts.onTry(prediction.model, text));
  return make("p", {}, button);
}

/** The text, with the words that the model read coloured by their shares, and the strongest of them as numbers. */
function wordsOf(text, number, explanation) {
  const { words: read } = explanation;
  const target = parts.target(explanation);
  const says = ({ share }) => `${signed(share, 2)} ${side(share)} ${target}`;
  const { slice, start, end } = extentOf(text, read);
  const elements = colour(read, read.map(({ share }) => share), (word) => ({ title: says(word) }));
  const outside = (part) => make("span", { class: "small" }, part);
  const box = make("div", { class: "words", dir: "auto", tabindex: 0, role: "region", "aria-label": `Words of text ${count(number)}` },
    outside(slice(0, start)), ...spaced(slice, read, elements), outside(slice(end)));
  const legend = (name) => make("span", {}, make("i", { class: `swatch ${name}`, "aria-hidden": "true" }), ` ${name} ${target}`);
  return [make("p", { class: "legend small" }, legend("for"), legend("against")), box, strongest(read, target)];
}

function strongest(read, target) {
  const ranked = read.toSorted((one, other) => other.share - one.share);
  const named = (some) => some.flatMap(({ text, share }, index) => [index ? ", " : "", isolate(text), " ", make("b", { class: side(share) }, signed(share, 2))]);
  const most = ranked.filter(({ share }) => share > 0).slice(0, STRONGEST);
  const least = ranked.filter(({ share }) => share < 0).reverse().slice(0, STRONGEST);
  return make("p", { class: "small" }, `${several(read.length, "word")} read. `,
    ...(most.length ? [`Most for ${target}: `, ...named(most), ". "] : []), ...(least.length ? [`Most against ${target}: `, ...named(least), "."] : []));
}
