// "Try it": the prediction, the words with their shares, the sentences, and the strongest filters.

import { showEquation } from "./balance.js";
import { byId, fillTable, isolate, make, meter } from "./dom.js";
import { count, percent, plain, several, side, signed } from "./format.js";
import { decide } from "./threshold.js";
import { showWords } from "./words.js";

/** The ids of a prediction that stand for words. */
const wordCount = (prediction, tokenizer) => prediction.tokens - (tokenizer.start_id === null ? 0 : 1);

/** Whether the model knows a word of a text. `explanation` says so of the words that the model read; it can be null. */
export function knowsAny(prediction, tokenizer, explanation = null) {
  return explanation ? explanation.words.some(({ known }) => known) : wordCount(prediction, tokenizer) > prediction.unknown_tokens;
}

/** Say what the model decides about a text in a few words. */
export function describePrediction(prediction, model, explanation) {
  if (!knowsAny(prediction, model.tokenizer, explanation)) return noVerdict(prediction, model.tokenizer);
  const { label, score, likeliest, ...decision } = decide(prediction, model);
  if (likeliest) return label;
  return [`${label}, ${percent(score)}`, describeDoubt(decision)].filter(Boolean).join(". ");
}

/** Say that a model is not confident of a decision, and why. */
function describeDoubt({ confident, doubts }) {
  if (confident !== false) return "";
  return doubts.length ? `Not confident: ${doubts.join(", and ")}.` : "Not confident.";
}

function noVerdict(prediction, tokenizer) {
  return wordCount(prediction, tokenizer) > 0 ? "The model knows none of these words." : "There are no words to read.";
}

/** Show the label, the probabilities and the counts. Without a known word, the label is no verdict. */
export function showPrediction(prediction, model, explanation) {
  const { tokenizer } = model;
  const { label, score, likeliest, ...decision } = decide(prediction, model);
  const known = knowsAny(prediction, tokenizer, explanation);
  byId("verdict").classList.toggle("unknowing", !known);
  byId("label").textContent = known ? label : noVerdict(prediction, tokenizer);
  byId("label-note").textContent = known
    ? (likeliest ? `The most probable label is ${likeliest}, ${percent(score)}.` : describeDoubt(decision))
    : `The API answers ${label}, ${percent(score)}, as it answers every text. Do not read an opinion into it.`;
  byId("label-note").hidden = !byId("label-note").textContent;
  byId("probabilities").replaceChildren(...Object.entries(prediction.probabilities).map(([each, probability]) => meter(each, percent(probability), probability)));
  for (const id of ["answered-by", "answering"]) byId(id).textContent = `${prediction.model.name}, version ${prediction.model.version}`;
  byId("counts").textContent = [
    several(Math.max(0, wordCount(prediction, tokenizer)), tokenizer.counts_unknown ? "word" : "token"),
    prediction.unknown_tokens ? `${count(prediction.unknown_tokens)} unknown` : "",
    prediction.truncated ? `too long: the model reads only the ${tokenizer.truncation_side === "right" ? "beginning" : "end"}` : "",
  ].filter(Boolean).join(" \u00b7 ");
}

/** Show that there is no answer. */
export function showNoPrediction() {
  byId("verdict").classList.remove("waiting", "unknowing");
  byId("label").textContent = "\u2026";
  byId("label-note").hidden = true;
  byId("probabilities").replaceChildren();
  for (const id of ["answered-by", "answering", "counts"]) byId(id).textContent = "";
}

/** Show what the words of a text add to a balance. Calls `onWatch(index)` to see a filter read a word. */
export function showExplanation(text, explanation, balance, tokenizer, onWatch) {
  const { words, prediction } = explanation;
  const unread = prediction.truncated ? wordCount(prediction, tokenizer) - words.length : 0;
  showWords(text, explanation, balance, tokenizer, unread, onWatch);
  showEquation(balance, tokenizer);
  fillTable(byId("words-table"), ["word", "id", `share of the ${balance.name}`],
    words.map((word, index) => [word.text, word.known ? count(word.id) : `${word.id} (unknown)`, signed(balance.shares[index], 2)]), [1, 2]);
}

/** List the sentences of a text, if it has several, with what each adds to the logit of `target` and its own label. */
export function showSentences({ sentences = [], decided_by: decidedBy, label }, target, model) {
  byId("sentences").hidden = sentences.length < 2;
  byId("sentences-note").textContent = `Its part of the logit of ${target}, and what the model says about the sentence alone.`;
  byId("sentences-list").replaceChildren(...sentences.map((sentence, index) => {
    const own = decide(sentence, model);
    const said = `alone ${own.label}${own.likeliest ? "" : `, ${percent(own.score)}`}${index === decidedBy ? ` \u00b7 adds most to ${label}` : ""}`;
    return make("li", index === decidedBy ? { class: "deciding" } : {}, isolate(sentence.text), " ",
      make("b", { class: side(sentence.share) }, signed(sentence.share, 2)), " ", make("span", { class: "small" }, said));
  }));
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
