// How the words balance: what each of them adds to a number, the equation of this number, and the probabilities that
// follow from it.

import { byId, fillTable, make, sup } from "./dom.js";
import { percent, plain, side, signed } from "./format.js";

const DECIMALS = 4; // of a logit
const LEAST = 2 ** -149; // the smallest float32 above 0, for the logarithm of a probability that is 0

/**
 * What the words of an explanation add to the logit of `target`. `rising` is what a positive share speaks for, and
 * `falling` what a negative one speaks for.
 */
export function balanceOf({ words, padding, bias, logit }, target) {
  const meaning = `The score that the network computes for ${target}. The higher it is, the more probable is ${target}.`;
  return {
    shares: words.map(({ share }) => share), padding, bias, total: logit,
    rising: `for ${target}`, falling: `against ${target}`, term: "logit", name: `logit of ${target}`, meaning,
  };
}

/** What the words of an explanation add to its contrast, the difference of two logits. */
export function balanceOfContrast({ contrast: { label, against, shares, padding, bias, log_odds: total } }) {
  const meaning = `The logit of ${label} minus the logit of ${against}. Above 0, ${label} is more probable than ${against}.`;
  return {
    shares, padding, bias, total,
    rising: `for ${label}`, falling: `for ${against}`, term: "log-odds", name: `log-odds of ${label} against ${against}`, meaning,
  };
}

/** Show how the parts of a balance add up, and say what they are. */
export function showEquation({ shares, padding, bias, total, term, name, meaning }, tokenizer) {
  const sum = shares.reduce((all, share) => all + share, 0);
  const filler = tokenizer.start_id === null ? "padding" : "padding and start";
  const box = (number, title) => make("div", {}, make("b", { class: side(number) }, signed(number, DECIMALS)), make("span", {}, title));
  byId("sum").replaceChildren(
    box(sum, "all words"), make("i", {}, "+"), box(padding, filler), make("i", {}, "+"), box(bias, "constant"), make("i", {}, "="), box(total, name));
  const terms = [
    [filler, `What the ids add that stand for no word: those that fill up a short text${tokenizer.start_id === null ? "" : ", and the one that marks its start"}.`],
    ["constant", "What the biases of the network add. It belongs to no word."],
    [term, meaning],
  ];
  byId("terms").replaceChildren(...terms.flatMap(([title, text]) => [make("dt", {}, title), make("dd", {}, text)]));
}

/** Show how the probabilities of an explanation follow from its logit, by a softmax or by the sigmoid of `target`. */
export function showOutcome({ logit, label, prediction: { probabilities } }, target, softmax) {
  byId("softmax").hidden = !softmax;
  if (softmax) {
    byId("outcome").replaceChildren("The softmax turns the logits of all labels into probabilities: e", sup("logit"), " of a label, divided by the sum over all labels.");
    const least = (probability) => Math.max(probability, LEAST);
    fillSoftmax(byId("softmax"), Object.entries(probabilities).map(([each, probability]) =>
      [each, logit + Math.log(least(probability) / least(probabilities[label]))]));
  } else {
    const shown = rounded(logit);
    byId("outcome").replaceChildren(`The sigmoid turns it into the probability of ${target}: 1 / (1 + e`, sup(plain(-shown, DECIMALS)), ") = ",
      make("b", { id: "sigmoid" }, percent(1 / (1 + Math.exp(-shown)))));
  }
}

/** Fill a table with logits, given as pairs of a label and its logit, and their softmax: that of the logits as the table shows them. */
export function fillSoftmax(table, logits) {
  const powers = logits.map(([, logit]) => Math.exp(rounded(logit)));
  const sum = powers.reduce((all, power) => all + power, 0);
  fillTable(table, ["label", "logit", "e^logit", "probability"],
    logits.map(([label, logit], index) => [label, signed(logit, DECIMALS), powers[index].toPrecision(5), percent(powers[index] / sum)]), [1, 2, 3]);
}

const rounded = (logit) => Number(logit.toFixed(DECIMALS));
