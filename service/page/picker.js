// The picker: the model, version and label that the page requests, and the model to compare with.

import { byId, fillSelect } from "./dom.js";
import { hasOneOutput } from "./threshold.js";

const AUTOMATIC = ""; // the default model of the service, the predicted label, or no comparison

let models = [];

/** Offer the loaded models. Calls `onChoice` after each choice of what to request, and `onCompare` after one of what to compare with. */
export function offerModels(loaded, onChoice, onCompare) {
  models = loaded;
  const options = models.map((model) => [keyOf(model), `${model.name}, version ${model.version}`]);
  fill("model-choice", "default model", options);
  fill("comparison-choice", "none", options);
  byId("model-field").hidden = byId("comparison-field").hidden = models.length < 2;
  byId("model-choice").onchange = () => { byId("label-choice").value = AUTOMATIC; onChoice(); };
  byId("label-choice").onchange = onChoice;
  byId("comparison-choice").onchange = onCompare;
}

/** Offer the labels of the model that answered, if each label has its own logit. */
export function offerLabels(model) {
  const labels = model && !hasOneOutput(model) ? model.labels : [];
  fill("label-choice", "predicted label", labels.map((label) => [label, label]));
  byId("label-field").hidden = !labels.length;
  byId("picker").hidden = byId("model-field").hidden && byId("label-field").hidden;
}

/** The fields of a request for a text; only explanations take a label. */
export function chosen() {
  const label = byId("label-choice").value;
  return { ...chosenVersion(), ...(label ? { label } : {}) };
}

/** The fields of a request that name the chosen model and version; none for the default model. */
export function chosenVersion() {
  const model = chosenModel("model-choice");
  return model ? { model: model.name, version: model.version } : {};
}

/** Choose a model. Returns whether it is offered; if not, the default model is chosen. */
export function choose(model) {
  byId("model-choice").value = keyOf(model);
  byId("label-choice").value = AUTOMATIC;
  if (chosenModel("model-choice")) return true;
  byId("model-choice").value = AUTOMATIC;
  return false;
}

/** The model to compare with; undefined for none. */
export const chosenComparison = () => chosenModel("comparison-choice");

function chosenModel(id) {
  return models.find((each) => keyOf(each) === byId(id).value);
}

function keyOf({ name, version }) {
  return `${name}/${version}`;
}

/** Fill a select. The choice stays if it is still offered. */
function fill(id, automatic, options) {
  fillSelect(byId(id), [[AUTOMATIC, automatic], ...options], byId(id).value);
}
