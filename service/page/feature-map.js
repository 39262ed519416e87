// Two steps of "How it works": the feature map of the filters of one convolution, and the pooled value of each filter.

import { byId, fillSelect, make, sizes, sub } from "./dom.js";
import { count, plain, side, signed } from "./format.js";
import { bars, colour, css, frame, keepDrawn, paint, palette, prepare, scaleOf, showScale } from "./heat.js";
import { dimensionsOf, spanOf, TIMES, timeOf, wordsUnder } from "./inspection.js";

let shown = null; // an inspection
let bank = 0; // index of the convolution that is shown

/** Wire the controls. Calls `chosen({width, index})` when a filter is chosen. */
export function startMap(chosen) {
  const choose = (part) => {
    const { width, filters, first } = shown.banks[bank];
    chosen({ width, index: first + Math.max(0, Math.min(filters - 1, Math.floor(part * filters))) });
  };
  byId("bank").addEventListener("change", (event) => { bank = Number(event.target.value); showMap(); showPooled(); });
  byId("crop").addEventListener("change", drawMap);
  byId("map").addEventListener("click", (event) => {
    const place = event.target.getBoundingClientRect();
    choose((event.clientY - place.top) / place.height);
  });
  byId("pooled").addEventListener("click", (event) => {
    const place = event.target.getBoundingClientRect();
    choose((event.clientX - place.left) / place.width);
  });
  keepDrawn(byId("map"), drawMap);
  keepDrawn(byId("pooled"), drawPooled);
}

/** Show the feature map with the filter of an inspection, and its pooled values. */
export function showBank(inspection) {
  shown = inspection;
  bank = shown.filter.bank;
  byId("bank-field").hidden = shown.banks.length < 2;
  fillSelect(byId("bank"),
    shown.banks.map((each, place) => [place, `${count(each.width)}${each.pooling === "mean" ? ", averaged" : ""}`]), bank);
  showMap();
  showPooled();
}

function showMap() {
  const { width, filters, pooling, feature_map: map } = shown.banks[bank];
  byId("map-dots").hidden = pooling === "mean";
  byId("filters-count").textContent = shown.banks.map((each) => count(each.filters)).join(" + ");
  shown.mapScale = scaleOf(map.flat());
  const rows = `${count(map.length)}${TIMES}${count(filters)}`;
  byId("map").setAttribute("aria-label", `Heat map of the feature map: ${count(map.length)} places across, ${count(filters)} filters down.`);
  byId("map-caption").textContent = `${count(map.length)} places across, ${count(filters)} filters down: ${count(map.length * filters)} numbers.`;
  showScale("map-scale", shown.mapScale);
  byId("map-formula").replaceChildren("F = E[x] \u2217 W", sizes(`${count(timeOf(shown))}${TIMES}${dimensionsOf(shown)} and ${count(filters)} filters of ${width}${TIMES}${dimensionsOf(shown)} \u2192 ${rows}`));
  drawMap();
}

function drawMap() {
  if (!shown) return;
  const { context, width, height } = prepare(byId("map"));
  const colours = palette();
  const each = shown.banks[bank];
  const places = each.feature_map.length;
  const cropped = byId("crop").checked;
  const first = cropped ? Math.min(Math.max(0, shown.first_word - spanOf(each) + each.padding[0]), places - 1) : 0;
  const end = shown.first_word + shown.explanation.words.length + each.padding[0];
  const columns = (cropped ? Math.min(places, Math.max(first + 1, end)) : places) - first;
  context.imageSmoothingEnabled = columns > width || each.filters > height;
  context.drawImage(paint(each.feature_map, shown.mapScale), first, 0, columns, each.filters, 0, 0, width, height);
  const row = height / each.filters;
  const column = width / columns;
  each.positions.forEach((position, index) => {
    if (each.pooling === "mean" || each.pooled[index] <= 0 || position < first || position >= first + columns) return;
    context.fillStyle = css(colours.frame, 0.85);
    context.beginPath();
    context.arc((position - first + 0.5) * column, (index + 0.5) * row, 1.4, 0, 7);
    context.fill();
  });
  if (bank !== shown.filter.bank) return;
  const y = (shown.filter.index - each.first + 0.5) * row;
  frame(context, colours, 1, y - Math.max(2.5, row / 2), width - 2, Math.max(5, row));
}

function showPooled() {
  const each = shown.banks[bank];
  const { index, position, curve, bias, activation, weight } = shown.filter;
  const filterBank = shown.banks[shown.filter.bank];
  const averages = each.pooling === "mean";
  byId("pool-title").textContent = averages ? "The average of each filter counts" : "Only the highest value of each filter counts";
  byId("pool-max").hidden = averages;
  byId("pool-mean").hidden = !averages;
  const counting = each.pooled.filter((value) => value > 0).length;
  byId("pooled").setAttribute("aria-label", `Bars of the ${count(each.filters)} ${averages ? "averages" : "highest values"}; ${count(counting)} are above zero.`);
  byId("pooled-caption").textContent =
    `${count(each.filters)} bars, one per filter. Blue bars speak for ${shown.target}, orange bars against it. The stronger the colour, the more the filter moves the decision. ${count(counting)} bars are above zero.`;
  byId("pooled-text").replaceChildren(
    `Filter no. ${index} is highest over ${wordsUnder(shown, filterBank, position)}: `, make("b", {}, plain(curve[position])), ` ${bias < 0 ? "\u2212" : "+"} ${Math.abs(bias).toFixed(4)} (its bias)${filterBank.pooling === "mean" ? "; the average over all places is " : ", which counts as "}`,
    make("b", { id: "kept" }, plain(activation)), `. Its weight in the logit is ${signed(weight)}, so it moves the logit by `, make("b", { class: side(activation * weight) }, signed(activation * weight)), ".");
  const { before, after } = activationOf(each.activations);
  byId("pool-formula").replaceChildren("m", sub("f"), averages ? " = mean" : ` = ${before}max`, sub("t"), ` ${averages ? before : ""}F[t, f] + b`, sub("f"), after,
    sizes(`${count(each.feature_map.length)}${TIMES}${count(each.filters)} \u2192 ${count(each.filters)}`));
  drawPooled();
}

function activationOf(operators) {
  if (!operators.length || operators.every((operator) => operator === "Identity")) return { before: "", after: "" };
  if (operators.length === 1 && operators[0] === "Relu") return { before: "max(0, ", after: ")" };
  return { before: `${operators.toReversed().map((operator) => operator.toLowerCase()).join("(")}(`, after: ")".repeat(operators.length) };
}

function drawPooled() {
  if (!shown) return;
  const each = shown.banks[bank];
  const moves = each.pooled.map((value, index) => value * each.weights[index]);
  const scale = scaleOf(moves);
  bars(byId("pooled"), each.pooled, (index, colours) => css(colour({ ...colours, neutral: colours.line }, moves[index], scale)),
    bank === shown.filter.bank ? shown.filter.index - each.first : -1);
}
