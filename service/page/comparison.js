// The comparison of two models: their predictions of one text, and the words whose shares differ most.

import { byId, fillTable, make } from "./dom.js";
import { percent, signed } from "./format.js";
import { labelOf } from "./threshold.js";

const WORDS = 10; // the most words that the page lists

const NO_SHARES = "The words are not compared. Their shares are comparable only if both models explain the same logit of the same label.";

/** Say whether two predictions have the same label. */
export function describeAgreement(first, second) {
  const [one, other] = [first, second].map(labelOf);
  if (one === other) return `Both predict ${one}.`;
  return `They disagree: ${nameOf(first)} predicts ${one}, and ${nameOf(second)} predicts ${other}.`;
}

/** Show two answers to one text side by side. `target` is the label whose logit both explain, or null. */
export function showComparison(first, second, target) {
  reveal(true);
  byId("agreement").replaceChildren(make("b", {}, describeAgreement(first.prediction, second.prediction)));
  showProbabilities(first.prediction, second.prediction);
  const differences = target === null ? [] : differencesOf(first.explanation.words, second.explanation.words);
  byId("differences-title").textContent = describeDifferences(differences, target);
  byId("differences").hidden = !differences.length;
  fillTable(byId("differences"), ["word", nameOf(first.prediction), nameOf(second.prediction), "difference"],
    differences.map(({ text, shares, difference }) => [text, ...shares.map(shown), signed(difference, 2)]), [1, 2, 3]);
}

/** Show why there is no comparison. Calls `again` to request it again. */
export function showComparisonTrouble(trouble, again) {
  reveal(false);
  byId("comparison-trouble-text").textContent = `The comparison failed. ${trouble.message}`;
  byId("comparison-retry").onclick = again;
}

function reveal(answered) {
  byId("comparison").classList.remove("waiting");
  byId("comparison-answer").hidden = !answered;
  byId("comparison-trouble").hidden = answered;
}

function showProbabilities(...predictions) {
  const labels = new Set(predictions.flatMap(({ probabilities }) => Object.keys(probabilities)));
  fillTable(byId("probabilities-table"), ["prediction", ...predictions.map(nameOf)], [
    ["label", ...predictions.map((each) => make("b", {}, labelOf(each)))],
    ...[...labels].map((label) => [`probability of ${label}`, ...predictions.map(({ probabilities }) => (Object.hasOwn(probabilities, label) ? percent(probabilities[label]) : "none"))]),
  ], [1, 2]);
}

function describeDifferences(differences, target) {
  if (target === null) return NO_SHARES;
  if (!differences.length) return `Every word has the same share of the logit of ${target} in both.`;
  return `The words whose share of the logit of ${target} differs most:`;
}

/** The words with the largest differences. A word that one of the models does not read has no share there. */
function differencesOf(first, second) {
  const places = new Map();
  [first, second].forEach((words, column) => words.forEach(({ text, start, end, share }) => {
    const key = `${start}-${end}`;
    if (!places.has(key)) places.set(key, { text, shares: [undefined, undefined] });
    places.get(key).shares[column] = share;
  }));
  return [...places.values()]
    .map(({ text, shares }) => ({ text, shares, difference: (shares[1] ?? 0) - (shares[0] ?? 0) }))
    .filter(({ difference }) => difference !== 0)
    .sort((one, other) => Math.abs(other.difference) - Math.abs(one.difference))
    .slice(0, WORDS);
}

const shown = (share) => (share === undefined ? "not read" : signed(share, 2));

const nameOf = ({ model }) => `${model.name}, version ${model.version}`;
