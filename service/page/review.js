// "Try it": the prediction, the words with their shares, and their sum.

import { byId, fillTable, isolate, make, meter } from "./dom.js";
import { count, percent, plain, several, side, signed } from "./format.js";
import { decide } from "./threshold.js";
import { showContrast, showWords } from "./words.js";

const NOT_CONFIDENT = "The model is not sure about this text.";

/** The ids of a prediction that stand for words. */
const wordCount = (prediction, tokenizer) => prediction.tokens - (tokenizer.start_id === null ? 0 : 1);

/** Whether the model knows a word of a text. `explanation` says so of the words that the model read; it can be null. */
export function knowsAny(prediction, tokenizer, explanation = null) {
  return explanation ? explanation.words.some(({ known }) => known) : wordCount(prediction, tokenizer) > prediction.unknown_tokens;
}

/** Say what the model decides about a text in a few words. */
export function describePrediction(prediction, tokenizer, explanation) {
  if (!knowsAny(prediction, tokenizer, explanation)) return noVerdict(prediction, tokenizer);
  const { label, score, confident, likeliest } = decide(prediction);
  if (likeliest) return label;
  return `${label}, ${percent(score)}${confident === false ? `. ${NOT_CONFIDENT}` : ""}`;
}

function noVerdict(prediction, tokenizer) {
  return wordCount(prediction, tokenizer) > 0 ? "The model knows none of these words." : "There are no words to read.";
}

/** Show the label, the probabilities and the counts. Without a known word, the label is no verdict. */
export function showPrediction(prediction, tokenizer, explanation) {
  const { label, score, confident, unsure, likeliest } = decide(prediction);
  const known = knowsAny(prediction, tokenizer, explanation);
  byId("verdict").classList.toggle("unknowing", !known);
  byId("label").textContent = known ? label : noVerdict(prediction, tokenizer);
  byId("label-note").textContent = known
    ? [likeliest ? `The most probable label is ${likeliest}, ${percent(score)}.` : "", unsure ? `The most probable label is ${unsure}.` : "", confident === false ? NOT_CONFIDENT : ""].filter(Boolean).join(" ")
    : `The API answers ${label}, ${percent(score)}, as it answers every text. Do not read an opinion into it.`;
  byId("label-note").hidden = !byId("label-note").textContent;
  byId("probabilities").replaceChildren(...Object.entries(prediction.probabilities).map(([each, probability]) => meter(each, percent(probability), probability)));
  byId("answered-by").textContent = `${prediction.model.name}, version ${prediction.model.version}`;
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
  for (const id of ["answered-by", "counts"]) byId(id).textContent = "";
}

/** Show what the words of a text add to the logit of `target`. Calls `onWatch(index)` to see a filter read a word. */
export function showExplanation(text, explanation, target, tokenizer, onWatch) {
  const unread = explanation.prediction.truncated ? wordCount(explanation.prediction, tokenizer) - explanation.words.length : 0;
  const { words, contrast } = explanation;
  const versus = contrast && `${contrast.label} against ${contrast.against}`;
  showWords(text, explanation, target, tokenizer, unread, onWatch);
  showSum("sum", words.map(({ share }) => share), explanation, explanation.logit, `logit of ${target}`, tokenizer);
  byId("contrast").hidden = !contrast || !words.length;
  if (contrast) {
    showContrast(text, explanation, unread);
    showSum("contrast-sum", contrast.shares, contrast, contrast.log_odds, `log-odds of ${versus}`, tokenizer);
  }
  fillTable(byId("words-table"), ["word", "id", `share of the logit of ${target}`, ...(contrast ? [`of the log-odds of ${versus}`] : [])],
    words.map((word, index) => [word.text, word.known ? count(word.id) : `${word.id} (unknown)`, signed(word.share), ...(contrast ? [signed(contrast.shares[index])] : [])]), [1, 2, 3]);
}

/** List the sentences of a text, if it has several, with what each adds to the logit of `target` and its own label. */
export function showSentences({ sentences = [], decided_by: decidedBy, label }, target) {
  byId("sentences").hidden = sentences.length < 2;
  byId("sentences-note").textContent = `Its part of the logit of ${target}, and what the model says about the sentence alone.`;
  byId("sentences-list").replaceChildren(...sentences.map((sentence, index) => {
    const own = decide(sentence);
    const said = `alone ${own.label}${own.likeliest ? "" : `, ${percent(own.score)}`}${index === decidedBy ? ` \u00b7 adds most to ${label}` : ""}`;
    return make("li", index === decidedBy ? { class: "deciding" } : {}, isolate(sentence.text), " ",
      make("b", { class: side(sentence.share) }, signed(sentence.share)), " ", make("span", { class: "small" }, said));
  }));
}

/** Show the parts of a logit, or of a difference of two, and their `total`. */
function showSum(id, shares, { padding, bias }, total, name, tokenizer) {
  const sum = shares.reduce((all, share) => all + share, 0);
  const box = (number, name) => make("div", {}, make("b", { class: side(number) }, signed(number)), make("span", {}, name));
  byId(id).replaceChildren(
    box(sum, "all words"), make("i", {}, "+"), box(padding, tokenizer.start_id === null ? "padding" : "padding and start"), make("i", {}, "+"),
    box(bias, "constant"), make("i", {}, "="), box(total, name));
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
