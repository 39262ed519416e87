// What the numbers of a manifest are called and what they mean.

const HIGHER = "Higher is better";
const CONFIDENT = "When it is confident";
const LOWER = "Lower is better";
const OTHER = "Other measures";

/** The groups in which measures are shown, in order. */
export const GROUPS = [HIGHER, CONFIDENT, LOWER, OTHER];

const several = ({ decision }) => "thresholds" in decision;

// The group, the name and a sentence for each metric. A sentence can depend on the model.
const METRICS = {
  accuracy: [HIGHER, "Accuracy", (model) => (several(model) ? "The share of texts that get exactly their labels." : "The share of texts that get the label that people gave them.")],
  opinion_accuracy: [HIGHER, "Accuracy, positive against negative", "The same only for texts that people labelled positive or negative, decided between these two: an answer is right if their label is more probable than the opposite one."],
  roc_auc: [HIGHER, "Area under the ROC curve", (model) => `How often a text with a label gets a higher probability of it than a text without it${model.labels.length > 2 ? ", as a mean of the labels" : ""}. A guess has 0.5.`],
  macro_f1: [HIGHER, "Macro F1", "The mean of F1 over the labels, so that a rare label counts as much as a frequent one. F1 is high if a label is found and its predictions are right."],
  micro_f1: [HIGHER, "Micro F1", "F1 over all labels together, so that frequent labels count more. F1 is high if labels are found and predictions are right."],
  average_precision: [HIGHER, "Average precision", "How many of the texts with the highest probability of a label have it, over all thresholds, as a mean of the labels."],
  confident_share: [CONFIDENT, "Confident answers", "The share of answers that the model is confident of: their probability reaches the limit of their label."],
  confident_accuracy: [CONFIDENT, "Accuracy of confident answers", "The share of right labels among them."],
  other_accuracy: [CONFIDENT, "Accuracy of the other answers", "The share of right labels among the answers that it is not confident of."],
  log_loss: [LOWER, "Log loss", (model) => `The mean of \u2212ln p, where p is the probability of the right label. ${several(model) ? "A model that always says 0.5 has 0.6931." : `A model that gives every label the same probability has ${Math.log(model.labels.length).toFixed(4)}.`}`],
  brier: [LOWER, "Brier score", (model) => `The mean squared error of ${model.labels.length > 2 ? "the probabilities, added up over the labels" : `the probability of ${model.labels[1]}`}.`],
  expected_calibration_error: [LOWER, "Calibration error", "How far the probability of an answer is, on average, from the share of right answers among those with a similar probability."],
};

/** The group, the name and the sentence of a metric of a model. */
export function describeMetric(name, model) {
  const [group, title, sentence] = METRICS[name] ?? [OTHER, name, "Its manifest has this number, and this page does not know what it means."];
  return { group, title, sentence: typeof sentence === "string" ? sentence : sentence(model) };
}

/** What precision, recall and F1 of a label are. */
export const LABEL_SCORES = "Precision is the share of right answers among those with the label. Recall is the share of the texts with the label that get it. F1 is their harmonic mean. The last columns count the answers to the texts with the label.";

const PRECISIONS = {
  float32: ["float32", "Numbers with 32 bits, as in the training."],
  uint8: ["uint8", "Whole numbers from 0 to 255 in the tables of the filters, a quarter of the size of float32."],
  int8: ["int8", "Whole numbers from \u2212128 to 127 in the tables of the filters, a quarter of the size of float32."],
};

/** The data type of the convolutions and what it means. */
export const describePrecision = (precision) => PRECISIONS[precision] ?? [precision, "The data type of the filters."];

const COMPARED = {
  "Keras": "The network that was trained.",
  "Keras' ONNX graph": "The graph that tf2onnx writes of this network.",
  "itself": "The same texts alone and in a batch, short and padded.",
  "original model": "The model that was exported, on texts.",
  "expected answers": "The answers that its owner stated.",
};

/** What the answers of a model were compared with. */
export const describeComparison = (against) => COMPARED[against] ?? "What the answers were compared with.";

/** From which probability a model is confident of a label, with a sentence. */
export function describeLimit(limit, { chosen_on: chosenOn, min_precision: least }) {
  const on = chosenOn ? `, chosen on ${chosenOn}` : "";
  const right = least ? ` so that at least ${Number((100 * least).toPrecision(4))}\u202f% of such answers are right` : "";
  return limit === null
    ? ["never", `No probability is high enough for answers with this label to be right often enough${on}.`]
    : [limit.toFixed(4), `From this probability on, the model is confident of the label${on}${right}.`];
}
