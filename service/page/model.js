// "The model": the loaded models, what they are for, and the contents of their manifests.

import { byId, fillTable, make, meter } from "./dom.js";
import { count, several } from "./format.js";
import { describeComparison, describeLimit, describeMetric, describePrecision, GROUPS, LABEL_SCORES } from "./measures.js";
import { purposeOf } from "./purpose.js";
import { hasOneOutput, hasSeveralLabels } from "./threshold.js";

/** Show every loaded model. Calls `onTry(model, text)` for a text that a model gets wrong. */
export function showModels(models, onTry) {
  byId("models").replaceChildren(...models.map((model) => make("details", { class: "model", "data-model": keyOf(model) },
    make("summary", {}, make("h2", {}, `${model.name}, version ${model.version}`)),
    make("h3", {}, "What this model is for"),
    purposeOf(model, (text) => onTry(model, text)),
    make("h3", {}, "Measured"),
    ...(model.metrics ? measured(model) : [make("p", {}, "Its manifest has no metrics.")]),
    make("h3", {}, "How it decides"),
    factList(decisions(model)),
    make("h3", {}, "Facts"),
    factList(facts(model)),
    make("div", { class: "plots" }, ...plots(model)),
  )));
}

/** Open the description of a model, and close the others. */
export function openModel(model) {
  for (const each of byId("models").children) each.open = each.dataset.model === keyOf(model);
}

const keyOf = ({ name, version }) => `${name}/${version}`;

/** The facts about a model: a name, a value and, unless the value speaks for itself, a sentence. */
function facts(model) {
  const how = model.configuration;
  const end = model.tokenizer.truncation_side === "right" ? "first" : "last";
  return [
    ["Labels", model.labels.join(", ")],
    ["Published", model.created.slice(0, 10), "The day of its export."],
    ["Longest input", several(model.max_tokens, "id"), `Of a longer text, it reads the ${end} ids.`],
    ["Vocabulary", several(model.vocabulary_size, "id"), "One for each word or part of a word that it knows, and a few special ones."],
    ["Filter widths", ...(model.convolution_widths.length
      ? [`${model.convolution_widths.join(", ")} words`, "How many neighbouring words a filter reads at once."]
      : ["none", "It is not a model of the Conv1D family."])],
    ["Precision", ...describePrecision(model.precision)],
    ["Runs on", model.execution_provider, "The execution provider of ONNX Runtime."],
    ...(how ? [["Trained with", `${how.optimizer}, ${several(how.epochs, "epoch")}, batches of ${how.batch_size}, seed ${how.seed}`, "An epoch reads all training texts once, a batch that many at a time. The same seed repeats the same random choices."]] : []),
    ["Libraries", Object.entries(model.libraries).map(([name, version]) => `${name} ${version}`).join(", ") || "unknown", "The versions that exported it."],
  ];
}

/** The facts about how labels and confidence follow from probabilities. */
function decisions(model) {
  const { decision } = model;
  const rule = hasSeveralLabels(model)
    ? model.labels.map((label) => [`Threshold of ${label}`, decision.thresholds[label].toFixed(4), "A text has the label from this probability on."])
    : hasOneOutput(model)
      ? [[`Threshold for ${model.labels[1]}`, decision.threshold.toFixed(4), `It answers ${model.labels[1]} from this probability on, and otherwise ${model.labels[0]}.`]]
      : [["Answer", "the most probable label"]];
  const limits = Object.entries(decision.confident_from ?? {}).map(([label, limit]) => [`Confident of ${label}`, ...describeLimit(limit, decision)]);
  return [
    ...rule,
    ...(decision.temperature === 1 ? [] : [["Temperature", decision.temperature.toFixed(4), "The logits are divided by it, so that probabilities fit the share of right answers."]]),
    ...(limits.length ? limits : [["Confident", "unknown", "It has no limits, so \u201cconfident\u201d is null in its answers."]]),
  ];
}

function factList(rows) {
  return make("dl", { class: "facts" }, ...rows.map(([title, value, sentence]) => make("div", {}, make("dt", {}, title), make("dd", {}, value),
    ...(sentence ? [make("dd", { class: "small" }, sentence)] : []))));
}

/** The metrics of a model in groups, and those of each label. */
function measured(model) {
  const { metrics } = model;
  const values = Object.entries(metrics.values).map(([name, value]) => ({ value, ...describeMetric(name, model) }));
  const groups = GROUPS.map((name) => [name, values.filter(({ group }) => group === name).map(({ title, value, sentence }) => [title, value, sentence])]);
  return [
    make("p", {}, `On ${metrics.measured_on}${metrics.measured_on.includes(count(metrics.examples)) ? "" : `, ${several(metrics.examples, "example")}`}, with the network that this service runs.`),
    make("div", { class: "plots" }, ...groups.filter(([, found]) => found.length).map(([name, found]) => plot(name, found, (value) => value.toFixed(4), 1))),
    ...(metrics.per_label?.length ? [ofLabels(metrics.per_label)] : []),
  ];
}

/** The scores of each label, and how often each label was predicted for its texts. */
function ofLabels(scores) {
  const table = make("table");
  const names = scores.map(({ label }) => label);
  const score = (value) => (value === null ? "\u2013" : value.toFixed(4));
  fillTable(table, ["label", "texts", "precision", "recall", "F1", ...names.map((name) => `answered ${name}`)],
    scores.map(({ label, support, precision, recall, f1, predicted }) =>
      [label, count(support), score(precision), score(recall), score(f1), ...names.map((name) => count(predicted[name] ?? 0))]),
    Array.from({ length: names.length + 4 }, (_, index) => index + 1));
  return make("figure", { class: "plot" }, make("figcaption", {}, "Each label"),
    make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Measures of each label" }, table), make("p", { class: "small" }, LABEL_SCORES));
}

function plots(model) {
  const parts = model.configuration ? parameters(model) : [];
  const differences = {};
  for (const { against, largest_difference: difference } of model.parity) {
    differences[against] = Math.max(differences[against] ?? 0, difference);
  }
  return [
    [`${count(parts.reduce((sum, [, value]) => sum + value, 0))} learned numbers`, parts, count],
    ["Largest difference of a probability, checked before publication",
      Object.entries(differences).map(([name, value]) => [`against ${name}`, value, describeComparison(name)]), (value) => (value ? value.toExponential(1) : "none")],
  ].filter(([, values]) => values.length).map((each) => plot(...each));
}

/** The numbers of weights and biases of a network that `model.training.network` builds. */
function parameters(model) {
  const { embedding_width: size, convolutions, hidden_width: hidden } = model.configuration;
  const filters = convolutions.reduce((sum, each) => sum + each.filters, 0);
  const outputs = hasOneOutput(model) ? 1 : model.labels.length;
  return [
    ["Embedding", model.vocabulary_size * size, `${several(size, "number")} for each id.`],
    ...convolutions.map(({ width, filters: number }) => [`Filters ${width} wide`, width * size * number + number,
      `${several(number, "filter")} of ${width} \u00d7 ${size} numbers and a bias.`]),
    ...(hidden ? [["Dense", filters * hidden + hidden, `${several(hidden, "unit")} with a weight for each filter and a bias.`]] : []),
    ["Last layer", (hidden || filters) * outputs + outputs, `${several(outputs, "output")} with a weight for each ${hidden ? "unit" : "filter"} and a bias.`],
  ];
}

/** Show values by name as bars, each with a sentence. A full bar is the largest value, but at least `full`. */
function plot(title, values, format, full = 0) {
  const largest = Math.max(full, ...values.map(([, value]) => value)) || 1;
  return make("figure", { class: "plot" }, make("figcaption", {}, title),
    ...values.map(([name, value, sentence]) => make("div", {}, meter(name, format(value), value / largest), make("p", { class: "small" }, sentence))));
}
