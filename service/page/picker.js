// The pickers: the model, version and label that the page requests, the model to compare with, and the one that "How it
// works" shows.

import { byId, fillSelect } from "./dom.js";
import { count } from "./format.js";
import { TIMES } from "./inspection.js";
import { hasOneOutput } from "./threshold.js";

// What to explain: the contrast of two labels, or a label, whose name follows.
const CONTRAST = "contrast";
const LABEL = "label:";

const AUTOMATIC = ""; // the default model of the service, the predicted label, no comparison, or the model that answers

const CLASSIC = "imdb-cnn"; // the network that "How it works" begins with, if it is loaded

let models = [];

/**
 * Offer the loaded models. Calls `onChoice` after each choice of what to request, `onCompare` after one of what to compare
 * with, and `onRead` after one of what "How it works" shows.
 */
export function offerModels(loaded, { onChoice, onCompare, onRead }) {
  const begins = !byId("reads-choice").options.length;
  models = loaded;
  const options = models.map((model) => [keyOf(model), nameOf(model)]);
  fill("model-choice", "default model", options);
  fill("comparison-choice", "none", options);
  fill("reads-choice", "the model under Try it", options.filter((_, index) => models[index].explainable));
  if (begins) pick("reads-choice", models.find(({ name, explainable }) => name === CLASSIC && explainable) ?? {});
  for (const id of ["model-field", "comparison-field", "reads-field"]) byId(id).hidden = models.length < 2;
  byId("model-choice").onchange = () => { byId("label-choice").value = AUTOMATIC; onChoice(); };
  byId("label-choice").onchange = onChoice;
  byId("comparison-choice").onchange = onCompare;
  byId("reads-choice").onchange = onRead;
}

/** Offer the labels of the model that answered, if each label has its own logit, and the contrast of its explanation. */
export function offerLabels(model, contrast) {
  const labels = model && !hasOneOutput(model) ? model.labels : [];
  const options = labels.map((label) => [LABEL + label, label]);
  fill("label-choice", "predicted label", contrast ? [...options, [CONTRAST, `${contrast.label} against ${contrast.against}`]] : options);
  byId("label-field").hidden = !labels.length;
  byId("picker").hidden = byId("model-field").hidden && byId("label-field").hidden;
}

/** The fields of a request for a text; only explanations take a label. */
export function chosen() {
  const choice = byId("label-choice").value;
  return { ...chosenVersion(), ...(choice.startsWith(LABEL) ? { label: choice.slice(LABEL.length) } : {}) };
}

/** Whether the contrast of an explanation is chosen, in place of the logit of a label. */
export const choosesContrast = () => byId("label-choice").value === CONTRAST;

/** The fields of a request that name the chosen model and version; none for the default model. */
export function chosenVersion() {
  const model = chosenModel("model-choice");
  return model ? { model: model.name, version: model.version } : {};
}

/** Choose a model to request. Returns whether it is offered; if not, the default model is chosen. */
export function choose(model) {
  byId("label-choice").value = AUTOMATIC;
  return pick("model-choice", model);
}

/** Show the model that answers under "How it works". */
export function readAnswering() {
  byId("reads-choice").value = AUTOMATIC;
}

/** Say why "How it works" shows another model than the one that answers. */
export function whyReading({ name, max_tokens: tokens, configuration }, answering) {
  const classic = name === CLASSIC && configuration ? `${name} is the classic example: it turns a text into a matrix of ${count(tokens)}${TIMES}${count(configuration.embedding_width)} numbers. ` : "";
  return `${classic}The model that answers under Try it is ${nameOf(answering)}.`;
}

function pick(id, model) {
  byId(id).value = keyOf(model);
  if (chosenModel(id)) return true;
  byId(id).value = AUTOMATIC;
  return false;
}

/** The model to compare with; undefined for none. */
export const chosenComparison = () => chosenModel("comparison-choice");

/** The model that "How it works" shows; undefined for the one that answers. */
export const chosenReading = () => chosenModel("reads-choice");

function chosenModel(id) {
  return models.find((each) => keyOf(each) === byId(id).value);
}

/** The name and version of a model, for people. */
export const nameOf = ({ name, version }) => `${name}, version ${version}`;

function keyOf({ name, version }) {
  return `${name}/${version}`;
}

/** Fill a select. The choice stays if it is still offered. */
function fill(id, automatic, options) {
  fillSelect(byId(id), [[AUTOMATIC, automatic], ...options], byId(id).value);
}
