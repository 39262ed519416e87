// The threshold: which label the page displays for the probabilities of a prediction. Requests do not depend on it.

import { byId } from "./dom.js";
import { percent } from "./format.js";

const UNSURE = "unsure";
const NO_LABEL = "no label";

let model = null; // the model that the threshold is for
let moved = null; // the threshold that the reader set; null for the model's own

/** Call `changed()` after each move of the slider. */
export function startThreshold(changed) {
  const slider = byId("threshold-choice");
  const set = (value) => { moved = value; show(); changed(); };
  slider.addEventListener("input", () => set(slider.valueAsNumber));
  byId("threshold-reset").addEventListener("click", () => { set(null); slider.focus(); });
}

/** Offer the threshold of the model that answered. A move lasts until another model answers. */
export function offerThreshold(answering) {
  if (model?.name !== answering.name || model.version !== answering.version) moved = null;
  model = answering;
  show();
}

/** The label of a prediction, or its labels if the model gives a text several, or none. */
export const labelOf = ({ label, labels }) => (labels ? labels.join(", ") || NO_LABEL : label);

/** Whether a model gives a text several labels, or none, each by a threshold of its own. */
export const hasSeveralLabels = ({ decision }) => "thresholds" in decision;

/** Whether a model has a single output: the probability of its second label. */
export const hasOneOutput = (each) => each.activation === "sigmoid" && !hasSeveralLabels(each);

/** The threshold in a request, if the reader moved it and the model has one. */
export const chosenThreshold = () => (moved !== null && hasOneOutput(model) ? { threshold: moved } : {});

/** Whether labels follow a threshold that the reader set. */
export const thresholdMoved = () => moved !== null;

/**
 * The label that a prediction gets, its score, and whether the model is confident of it; null if it has no limit for it.
 * `unsure` has the score of the most probable label. A text with several labels, or none, gets all of them as one label,
 * and `likeliest` is the most probable one.
 */
export function decide(prediction) {
  const { label, score, confident, probabilities, model: { name, version } } = prediction;
  if (prediction.labels) return { label: labelOf(prediction), score, confident, likeliest: label };
  if (moved === null || name !== model.name || version !== model.version) return { label, score, confident };
  if (!hasOneOutput(model)) return { label: score < moved ? UNSURE : label, score, confident, unsure: score < moved ? label : null };
  const [first, second] = model.labels; // objects list keys that are numbers in ascending order
  const decided = probabilities[second] >= moved ? second : first;
  return { label: decided, score: probabilities[decided], confident: isConfident(prediction, decided) };
}

/**
 * Whether the model is confident of another label of a text with a known word, by the rule of the service: null without
 * a limit for the label. A limit of null stands for never.
 */
function isConfident({ tokens, unknown_tokens: unknown, probabilities }, label) {
  const limit = model.decision.confident_from?.[label];
  if (limit === undefined) return null;
  const known = tokens - unknown - (model.tokenizer.start_id === null ? 0 : 1);
  return known >= unknown && limit !== null && probabilities[label] >= limit;
}

function show() {
  const slider = byId("threshold-choice");
  const sigmoid = hasOneOutput(model);
  const value = moved ?? (sigmoid ? model.decision.threshold : 0);
  byId("threshold").hidden = hasSeveralLabels(model);
  byId("threshold-name").replaceChildren(...(sigmoid ? ["Threshold for ", model.labels[1]] : ["Unsure below"]));
  // 0 and 1 are no thresholds of a sigmoid.
  slider.min = sigmoid ? 0.01 : 0;
  slider.max = 0.99;
  slider.value = value;
  byId("threshold-value").textContent = slider.ariaValueText = percent(value);
  byId("threshold-note").textContent = `Changes only what this page displays.${sigmoid ? " In a request, \u201cthreshold\u201d does the same." : ""}`;
  byId("threshold-reset").hidden = moved === null;
}
