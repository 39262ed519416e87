// The last step of "How it works": from the pooled values of the filters to a probability.

import { fillSoftmax } from "./balance.js";
import { byId, draw, make, sizes, sub, sup } from "./dom.js";
import { count, percent, plain, signed } from "./format.js";
import { bars, css, keepDrawn } from "./heat.js";

let inner = []; // the dense layers before the last one

keepDrawn(byId("layers"), drawLayers);

/** Show how the pooled values of an inspection become the probability of its target. */
export function showDecision(shown) {
  const last = shown.layers.at(-1);
  const { label, prediction, logit } = shown.explanation;
  const features = shown.banks.flatMap((each) => each.pooled);
  const featureWeights = shown.banks.flatMap((each) => each.weights);
  inner = shown.layers.slice(0, -1);
  const steps = [{ values: features, weights: featureWeights }, ...inner];
  byId("decide-text").textContent =
    (inner.length ? `A dense layer computes ${inner.map((layer) => count(layer.units)).join(", then ")} new values from the ${count(features.length)} values. Each new value is a sum of all of them, with learned weights. ` : "") +
    `The last layer adds up its inputs, with its own weights, to ${last.units === 1 ? "one number, the logit" : `one number for each of the ${last.units} labels, the logits`}. ` +
    (shown.final === "Sigmoid" ? `${last.units === 1 ? "The sigmoid maps the logit" : "A sigmoid maps each logit"} to a probability between 0 and 1.` : "The softmax turns the logits into probabilities that add up to 1.");
  byId("layers").replaceChildren(...inner.map((layer, index) => {
    const canvas = make("canvas", { class: "bars", role: "img", "aria-label": `Bars of the part that each of the ${count(layer.units)} units adds to the logit.` });
    return make("figure", { class: "layer" }, canvas, make("figcaption", {},
      `Dense layer, ${count(steps[index].values.length)} \u2192 ${count(layer.units)}${layer.activations.length ? `, ${layer.activations.map((each) => each.toLowerCase()).join(", ")}` : ""}: each unit times its weight, which is the part that it adds to the logit.`));
  }));
  drawLayers();
  const units = sizes([features, ...shown.layers.map((layer) => layer.values)].map((values) => count(values.length)).join(" \u2192 "));
  const before = steps.at(-1);
  const sum = before.values.reduce((total, value, unit) => total + value * before.weights[unit], 0);
  const exact = [
    make("p", {}, `${count(before.values.length)} values times their weights: ${signed(sum)}`),
    make("p", {}, `and the last bias: ${signed(logit - sum)}`),
    make("p", {}, `logit of ${shown.target} = `, make("b", { id: "logit" }, signed(logit))),
  ];
  byId("squash").toggleAttribute("hidden", shown.final !== "Sigmoid");
  if (shown.final === "Sigmoid") {
    const probability = prediction.probabilities[shown.target];
    drawSigmoid(logit, probability);
    exact.push(make("p", { class: "big" }, `${percent(probability)} ${shown.target}`));
    byId("decide-formula").replaceChildren("p = 1 / (1 + e", sup("\u2212logit"), ") = 1 / (1 + e", sup(plain(-logit)), `) = ${probability.toFixed(6)}`, units);
  } else {
    const table = make("table", { class: "softmax" });
    fillSoftmax(table, shown.labels.map((each, index) => [each === label ? `${each} (explained)` : each, last.values[index]]));
    exact.push(table);
    byId("decide-formula").replaceChildren("p", sub("i"), " = e", sup("logit i"), " / \u03a3", sub("j"), " e", sup("logit j"), units);
  }
  byId("final-numbers").replaceChildren(...exact);
}

function drawLayers() {
  document.querySelectorAll("#layers canvas").forEach((canvas, index) => {
    const { values, weights } = inner[index];
    const moves = values.map((value, unit) => value * weights[unit]);
    bars(canvas, moves, (unit, colours) => css(moves[unit] < 0 ? colours.against : colours.for));
  });
}

function drawSigmoid(logit, probability) {
  const reach = Math.max(6, Math.abs(logit) + 1);
  const x = (value) => 20 + ((value + reach) / (2 * reach)) * 300;
  const y = (value) => 160 - value * 140;
  const path = Array.from({ length: 121 }, (_, step) => {
    const value = -reach + (step / 120) * 2 * reach;
    return `${step ? "L" : "M"}${x(value).toFixed(2)} ${y(1 / (1 + Math.exp(-value))).toFixed(2)}`;
  }).join("");
  const squash = byId("squash");
  squash.setAttribute("viewBox", "0 0 340 190");
  squash.setAttribute("aria-label", `The sigmoid. At the logit ${plain(logit)} it is ${probability.toFixed(4)}.`);
  const line = (x1, y1, x2, y2) => draw("line", { x1, y1, x2, y2 });
  squash.replaceChildren(
    line(20, y(0), 320, y(0)), line(20, y(1), 320, y(1)), line(x(0), y(0), x(0), y(1)), line(x(logit), y(0), x(logit), y(probability)), line(20, y(probability), x(logit), y(probability)),
    draw("path", { d: path }), draw("circle", { cx: x(logit), cy: y(probability), r: 5.5 }),
    draw("text", { x: x(0), y: 180, "text-anchor": "middle" }, "0"), draw("text", { x: 4, y: y(0) + 4 }, "0"), draw("text", { x: 4, y: y(1) + 4 }, "1"),
    Math.abs(logit) > reach / 8 ? draw("text", { x: x(logit), y: 180, "text-anchor": "middle" }, `logit ${plain(logit, 2)}`) : "");
}
