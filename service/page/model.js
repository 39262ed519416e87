// "The model": the loaded models, what they are for, and the contents of their manifests.

import { byId, make, meter } from "./dom.js";
import { count, several } from "./format.js";
import { purposeOf } from "./purpose.js";
import { hasOneOutput } from "./threshold.js";

// The names of metrics for which higher is better, and of those for which lower is better.
const QUALITIES = { accuracy: "Accuracy", roc_auc: "Area under the ROC curve", macro_f1: "Macro F1" };
const COSTS = { log_loss: "Log loss", brier: "Brier score", expected_calibration_error: "Calibration error" };

/** Show every loaded model. Calls `onTry(model, text)` for a text that a model gets wrong. */
export function showModels(models, onTry) {
  byId("models").replaceChildren(...models.map((model) => make("details", { class: "model", "data-model": keyOf(model) },
    make("summary", {}, make("h2", {}, `${model.name}, version ${model.version}`)),
    make("h3", {}, "What this model is for"),
    purposeOf(model, (text) => onTry(model, text)),
    make("h3", {}, "Facts"),
    facts(model),
    ...(model.metrics ? [measured(model.metrics)] : [make("p", {}, "Its manifest has no metrics.")]),
    make("div", { class: "plots" }, ...plots(model)),
  )));
}

/** Open the description of a model, and close the others. */
export function openModel(model) {
  for (const each of byId("models").children) each.open = each.dataset.model === keyOf(model);
}

const keyOf = ({ name, version }) => `${name}/${version}`;

function facts(model) {
  const how = model.configuration;
  const rows = [
    ["Labels", model.labels.join(", ")],
    ["Published", model.created.slice(0, 10)],
    ["Longest input", several(model.max_tokens, "id")],
    ["Vocabulary", several(model.vocabulary_size, "id")],
    ["Filter widths", model.convolution_widths.length ? `${model.convolution_widths.join(", ")} words` : "none: not a model of the Conv1D family"],
    ["Precision", model.precision],
    ["Runs on", model.execution_provider],
    ...(how ? [["Trained with", `${how.optimizer}, ${several(how.epochs, "epoch")}, batches of ${how.batch_size}, seed ${how.seed}`]] : []),
    ["Libraries", Object.entries(model.libraries).map(([name, version]) => `${name} ${version}`).join(", ") || "unknown"],
  ];
  return make("dl", { class: "facts" }, ...rows.map(([title, value]) => make("div", {}, make("dt", {}, title), make("dd", {}, value))));
}

function measured(metrics) {
  return make("p", {}, `Measured on ${metrics.measured_on}${metrics.measured_on.includes(count(metrics.examples)) ? "" : `, ${several(metrics.examples, "example")}`}, on the network that this service runs.`);
}

function plots(model) {
  const metrics = Object.entries(model.metrics?.values ?? {});
  const qualities = metrics.filter(([name]) => !(name in COSTS)).map(([name, value]) => [QUALITIES[name] ?? name, value]);
  const costs = metrics.filter(([name]) => name in COSTS).map(([name, value]) => [COSTS[name], value]);
  const parts = model.configuration ? parameters(model) : [];
  const differences = {};
  for (const { against, largest_difference: difference } of model.parity) {
    const name = `against ${against}`;
    differences[name] = Math.max(differences[name] ?? 0, difference);
  }
  return [
    ["Higher is better", qualities, (value) => value.toFixed(4), 1],
    ["Lower is better", costs, (value) => value.toFixed(4), 1],
    [`${count(parts.reduce((sum, [, value]) => sum + value, 0))} learned numbers`, parts, count],
    ["Largest difference between answers, checked before publication", Object.entries(differences), (value) => value.toExponential(1)],
  ].filter(([, values]) => values.length).map((each) => plot(...each));
}

/** The numbers of weights and biases of a network that `model.training.network` builds. */
function parameters(model) {
  const { embedding_width: size, convolutions, hidden_width: hidden } = model.configuration;
  const filters = convolutions.reduce((sum, each) => sum + each.filters, 0);
  const outputs = hasOneOutput(model) ? 1 : model.labels.length;
  return [
    ["Embedding", model.vocabulary_size * size],
    ...convolutions.map(({ width, filters: number }) => [`Filters ${width} wide`, width * size * number + number]),
    ...(hidden ? [["Dense", filters * hidden + hidden]] : []),
    ["Last layer", (hidden || filters) * outputs + outputs],
  ];
}

/** Show values by name as bars. A full bar is the largest value, but at least `full`. */
function plot(title, values, format, full = 0) {
  const largest = Math.max(full, ...values.map(([, value]) => value)) || 1;
  return make("figure", { class: "plot" }, make("figcaption", {}, title),
    ...values.map(([name, value]) => meter(name, format(value), value / largest)));
}
