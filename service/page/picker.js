// The picker: the model, version and label that the page requests.

import { byId, fillSelect } from "./dom.js";

const AUTOMATIC = ""; // the default model of the service, or the predicted label

let models = [];

/** Offer the loaded models. Calls `onChoice` after each choice. */
export function offerModels(loaded, onChoice) {
  models = loaded;
  fill("model-choice", "default model", models.map((model) => [keyOf(model), `${model.name}, version ${model.version}`]));
  byId("model-field").hidden = models.length < 2;
  byId("model-choice").onchange = () => { byId("label-choice").value = AUTOMATIC; onChoice(); };
  byId("label-choice").onchange = onChoice;
}

/** Offer the labels of the model that answered, if each label has its own logit. */
export function offerLabels(model) {
  const labels = model?.activation === "softmax" ? model.labels : [];
  fill("label-choice", "predicted label", labels.map((label) => [label, label]));
  byId("label-field").hidden = !labels.length;
  byId("picker").hidden = byId("model-field").hidden && byId("label-field").hidden;
}

/** The fields of a request for a text; only explanations take a label. */
export function chosen() {
  const model = models.find((each) => keyOf(each) === byId("model-choice").value);
  const label = byId("label-choice").value;
  return { ...(model ? { model: model.name, version: model.version } : {}), ...(label ? { label } : {}) };
}

function keyOf({ name, version }) {
  return `${name}/${version}`;
}

/** Fill a select. The choice stays if it is still offered. */
function fill(id, automatic, options) {
  fillSelect(byId(id), [[AUTOMATIC, automatic], ...options], byId(id).value);
}
