// "The model": the loaded models, and the contents of their manifests.

import { byId, draw, make } from "./dom.js";
import { count, several } from "./format.js";

const NAMES = {
  accuracy: "Accuracy",
  roc_auc: "Area under the ROC curve",
  macro_f1: "Macro F1",
  log_loss: "Log loss",
  brier: "Brier score",
  expected_calibration_error: "Calibration error",
};

// Metrics for which lower is better.
const COSTS = new Set(["log_loss", "brier", "expected_calibration_error"]);

/** Show every loaded model. */
export function showModels(models) {
  byId("model-note").hidden = true;
  byId("models").replaceChildren(...models.flatMap((model) => [
    make("h2", {}, `${model.name}, version ${model.version}`),
    facts(model),
    ...(model.metrics ? [measured(model.metrics)] : [make("p", {}, "Its manifest has no metrics.")]),
    make("div", { class: "plots" }, ...plots(model)),
  ]));
}

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
  return make("p", {}, `Measured on ${metrics.measured_on}${metrics.measured_on.includes(count(metrics.examples)) ? "" : `, ${several(metrics.examples, "example")}`}, with the network that this service runs.`);
}

function plots(model) {
  const all = [];
  if (model.metrics) {
    const values = Object.entries(model.metrics.values);
    const good = values.filter(([name]) => !COSTS.has(name));
    const bad = values.filter(([name]) => COSTS.has(name));
    if (good.length) all.push(plot("Higher is better", good.map(([name, value]) => [NAMES[name] ?? name, value, value.toFixed(4)]), 1));
    if (bad.length) all.push(plot("Lower is better", bad.map(([name, value]) => [NAMES[name] ?? name, value, value.toFixed(4)]), Math.max(1, ...bad.map(([, value]) => value))));
  }
  if (model.configuration) {
    const parts = parameters(model);
    const total = parts.reduce((sum, [, value]) => sum + value, 0);
    all.push(plot(`${count(total)} learned numbers`, parts.map(([name, value]) => [name, value, count(value)]), Math.max(...parts.map(([, value]) => value))));
  }
  if (model.parity.length) {
    const worst = new Map();
    for (const { against, largest_difference: difference } of model.parity) worst.set(against, Math.max(worst.get(against) ?? 0, difference));
    const rows = [...worst].map(([against, value]) => [`against ${against}`, value, value.toExponential(1)]);
    all.push(plot("Largest difference between answers, checked before publication", rows, Math.max(...worst.values()) || 1));
  }
  return all;
}

/** The numbers of weights and biases of a network that `model.training.network` builds. */
function parameters(model) {
  const { embedding_width: size, convolutions, hidden_width: hidden } = model.configuration;
  const filters = convolutions.reduce((sum, each) => sum + each.filters, 0);
  const outputs = model.activation === "sigmoid" ? 1 : model.labels.length;
  return [
    ["Embedding", model.vocabulary_size * size],
    ...convolutions.map(({ width, filters: number }) => [`Filters ${width} wide`, width * size * number + number]),
    ["Dense", filters * hidden + hidden],
    ["Last layer", hidden * outputs + outputs],
  ];
}

/** Draw rows of [name, value, shown value] as bars from 0 to `full`. */
function plot(title, rows, full) {
  const height = 30 + rows.length * 44;
  const picture = draw("svg", { class: "plot", viewBox: `0 0 400 ${height}`, role: "img", "aria-label": `${title}. ${rows.map(([name, , text]) => `${name}: ${text}`).join("; ")}.` });
  picture.append(draw("text", { x: 0, y: 16, class: "quiet" }, title));
  rows.forEach(([name, value, text], index) => {
    const y = 30 + index * 44;
    picture.append(
      draw("text", { x: 0, y: y + 15 }, name),
      draw("text", { x: 400, y: y + 15, "text-anchor": "end" }, text),
      draw("rect", { x: 0, y: y + 22, width: 400, height: 7, rx: 3, class: "back" }),
      draw("rect", { x: 0, y: y + 22, width: Math.max(1.5, (400 * Math.min(value, full)) / full), height: 7, rx: 3, class: "fore" }));
  });
  return picture;
}
