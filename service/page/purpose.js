// The card of a model: what it is for, where it fails, what it was trained on and how accurate it is.

import { make } from "./dom.js";
import { count, percent, several } from "./format.js";
import { knownOf } from "./shipped.js";

/** Create the card of a model. Calls `onTry(text)` for a text that the model gets wrong. */
export function purposeOf(model, onTry) {
  const known = knownOf(model);
  const rows = [
    ["For", [known?.purpose ?? `Its manifest does not say. It gives each text one of the labels ${listed(model.labels)}.`]],
    ["Trained on", [known?.training ?? "Its manifest does not say."]],
    ["Accuracy", accuracyOf(model)],
    ["Text to ids", [`${model.text_parity[0].toUpperCase()}${model.text_parity.slice(1)}.`]],
    ["Limits", limitsOf(model)],
    ["Gets wrong", known ? known.failures.map((each) => failure(...each, onTry)) : ["Nothing is known. Try texts of your own, and compare its labels with yours before you rely on them."]],
  ];
  return make("dl", { class: "purpose" }, ...rows.flatMap(([title, lines]) => [make("dt", {}, title), make("dd", {}, ...lines.map((line) => make("p", {}, line)))]));
}

function accuracyOf({ metrics }) {
  if (!metrics) return ["It was not measured."];
  const { accuracy, opinion_accuracy: opinions, confident_share: share, confident_accuracy: sure, other_accuracy: unsure } = metrics.values;
  const measured = `${metrics.measured_on}${metrics.measured_on.includes(count(metrics.examples)) ? "" : `, ${several(metrics.examples, "example")}`}`;
  if (accuracy === undefined) return [`Measured on ${measured}, but not as accuracy: the metrics are below.`];
  return [
    `${percent(accuracy)} of the labels were right, measured on ${measured}. Expect less on other texts.`,
    ...(opinions === undefined ? [] : [`${percent(opinions)} were right among the texts that people labelled positive or negative, decided between these two.`]),
    ...(share === undefined ? [] : [`It was confident of ${percent(share)} of the answers.${sure === undefined ? "" : ` Of these, ${percent(sure)} were right.`}${unsure === undefined ? "" : ` Of the others, ${percent(unsure)}.`}`]),
  ];
}

function limitsOf(model) {
  const end = model.tokenizer.truncation_side === "right" ? "first" : "last";
  const { counts_unknown: words, unknown_id: unknown } = model.tokenizer;
  const others = !words ? "It reads other words in parts." : unknown === null ? "It skips all other words." : "All other words are the same to it.";
  return [
    `It reads the ${end} ${several(model.max_tokens, "id")} of a text. Its vocabulary has ${several(model.vocabulary_size, "id")}. ${others}`,
    `${model.needs_words ? "It has no answer to a text without a word that it reads. It gives every other text" : "It gives every text"} a label, even if none fits.`,
  ];
}

function failure(kind, text, label, onTry) {
  const button = make("button", { type: "button", class: "plain" }, `\u201c${text}\u201d`);
  button.addEventListener("click", () => onTry(text));
  return make("span", {}, `${kind}: `, button, ` gets ${label}.`);
}

const listed = (labels) => new Intl.ListFormat("en").format(labels);
