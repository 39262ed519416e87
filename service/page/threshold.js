// The decision: which label the page displays for the probabilities of a prediction, by the threshold that the reader set,
// and why the model is not confident of it. Requests do not depend on the threshold.

import { byId } from "./dom.js";
import { percent } from "./format.js";

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

/** Offer the threshold of the model that answered, if it has a single output. A move lasts until another model answers. */
export function offerThreshold(answering) {
  if (model?.name !== answering.name || model.version !== answering.version) moved = null;
  model = answering;
  byId("threshold").hidden = !hasOneOutput(model);
  if (hasOneOutput(model)) show();
}

/** The label of a prediction, or its labels if the model gives a text several, or none. */
export const labelOf = ({ label, labels }) => (labels ? labels.join(", ") || NO_LABEL : label);

/** Whether a model gives a text several labels, or none, each by a threshold of its own. */
export const hasSeveralLabels = ({ decision }) => "thresholds" in decision;

/** Whether a model has a single output: the probability of its second label. */
export const hasOneOutput = (each) => each.activation === "sigmoid" && !hasSeveralLabels(each);

/** The threshold in a request, if the reader moved it. */
export const chosenThreshold = () => (moved === null ? {} : { threshold: moved });

/** Whether labels follow a threshold that the reader set. */
export const thresholdMoved = () => moved !== null;

/**
 * The label that a prediction of a model gets, its score, whether the model is confident of it (null if it has no limit for
 * it), and the reasons if it is not. A text with several labels, or none, gets all of them as one label, and `likeliest` is
 * the most probable one.
 */
export function decide(prediction, by) {
  const { label, score, confident, probabilities } = prediction;
  if (prediction.labels) return { label: labelOf(prediction), score, confident, doubts: [], likeliest: label };
  if (moved === null || !made(model, prediction)) return { label, score, confident, doubts: made(by, prediction) ? doubtsOf(prediction, label, by) : [] };
  const [first, second] = model.labels; // objects list keys that are numbers in ascending order
  const decided = probabilities[second] >= moved ? second : first;
  const doubts = doubtsOf(prediction, decided, model);
  return { label: decided, score: probabilities[decided], confident: limitOf(decided, model) === undefined ? null : !doubts.length, doubts };
}

const made = ({ name, version }, prediction) => name === prediction.model.name && version === prediction.model.version;

/** The lowest probability at which a model is confident of a label. Null stands for never, and undefined for no limit. */
const limitOf = (label, { decision }) => decision.confident_from?.[label];

/** Why a model is not confident of a label, by the rule of the service; nothing if it is, or if it has no limit for it. */
function doubtsOf({ tokens, unknown_tokens: unknown, probabilities }, label, by) {
  const limit = limitOf(label, by);
  if (limit === undefined) return [];
  const score = Math.fround(probabilities[label]); // JSON has the shortest digits of a float32
  const known = tokens - unknown - (by.tokenizer.start_id === null ? 0 : 1);
  return [
    limit === null ? `never for ${label}` : score < limit ? `below ${shownLimit(limit, score)} for ${label}` : "",
    known < 1 ? "no known word" : known < unknown ? "fewer than half of the words are known" : "",
  ].filter(Boolean);
}

/** A limit with two decimals, or with as many as show that it is below 1, and that a lower score is below it. */
function shownLimit(limit, score) {
  for (let digits = 2; digits < 9; digits++) {
    const text = limit.toFixed(digits);
    if (score < Number(text) && Number(text) < 1) return text;
  }
  return String(limit);
}

function show() {
  const slider = byId("threshold-choice");
  const value = moved ?? model.decision.threshold;
  byId("threshold-name").textContent = `Threshold for ${model.labels[1]}`;
  slider.value = value;
  byId("threshold-value").textContent = slider.ariaValueText = percent(value);
  byId("threshold-reset").hidden = moved === null;
}
