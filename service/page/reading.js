// "How it reads": the six steps from words to a decision, drawn from what `/v1/inspect` answers.

import { byId, draw, fillTable, formula, make } from "./dom.js";
import { count, percent, plain, several, side, signed } from "./format.js";
import { bars, colour, css, frame, keepDrawn, palette, picture, prepare, scaleOf } from "./heat.js";
import { Slide } from "./slide.js";

const CHIPS = 40; // words that are shown with their ids
const COLUMN = 46; // CSS pixels of a word in the close-up, at least
const LABELS = 84; // and of the words above it
const CURVE = 84; // and of the curve below it
const GAP = 10; // between the matrix and the filter
const MARGIN = 36; // at the right, for the last word

const TIMES = "\u2009\u00d7\u2009";
const still = matchMedia("(prefers-reduced-motion: reduce)");

let shown = null; // an inspection
let bank = 0; // of the feature map
let pictures = {};
let points = []; // of the curve
let seen = -1; // the position that the numbers are of
let furthest = -1; // how far the curve has been drawn for this filter
let onFilter = () => {};
let onPlace = () => {};

const slide = new Slide(showPlace, (playing) => {
  byId("play").textContent = playing ? "Pause" : "Play";
});

/** Wire the controls. `chosen({width, index})` when a filter is, `placed(first, last)` for the words beneath it. */
export function start(chosen, placed) {
  onFilter = chosen;
  onPlace = placed;
  byId("play").addEventListener("click", play);
  byId("back").addEventListener("click", () => slide.step(-1));
  byId("forward").addEventListener("click", () => slide.step(1));
  byId("peak").addEventListener("click", () => { slide.pause(); slide.seek(shown.filter.position); });
  byId("scrub").addEventListener("input", (event) => { slide.pause(); slide.seek(Number(event.target.value)); });
  byId("filter-choice").addEventListener("change", (event) => {
    const [width, index] = event.target.value.split("/").map(Number);
    if (!Number.isNaN(width)) onFilter({ width, index });
  });
  const byNumber = () => {
    const field = byId("filter-number");
    const width = Number(byId("filter-width").value);
    const { filters } = shown.banks.find((each) => each.width === width);
    const index = Math.max(0, Math.min(filters - 1, Math.round(Number(field.value) || 0)));
    onFilter({ width, index });
  };
  byId("filter-number").addEventListener("change", byNumber);
  byId("filter-width").addEventListener("change", byNumber);
  byId("bank").addEventListener("change", (event) => { bank = Number(event.target.value); showMap(); showPooled(); });
  byId("crop").addEventListener("change", drawMap);
  byId("map").addEventListener("click", (event) => {
    const place = event.target.getBoundingClientRect();
    choose(Math.floor(((event.clientY - place.top) / place.height) * shown.banks[bank].filters));
  });
  byId("pooled").addEventListener("click", (event) => {
    const place = event.target.getBoundingClientRect();
    choose(Math.floor(((event.clientX - place.left) / place.width) * shown.banks[bank].filters));
  });
  byId("curve").addEventListener("click", (event) => {
    const place = event.currentTarget.getBoundingClientRect();
    slide.pause();
    slide.seek(Math.round(((event.clientX - place.left) / place.width) * shown.ids.length - shown.filter.width / 2));
  });
  byId("curve-details").addEventListener("toggle", showCurveTable);
  const tellOfMotion = () => { byId("motion-note").hidden = !still.matches; };
  still.addEventListener("change", tellOfMotion);
  tellOfMotion();
  keepDrawn(["matrix", "close", "overview", "map", "pooled"].map(byId), redraw);
}

/** Show a text's way. `target` is the label whose logit it is. */
export function show(inspection, target) {
  shown = inspection;
  shown.target = target;
  bank = Math.max(0, shown.banks.findIndex((each) => each.width === shown.filter.width));
  pictures = {};
  showRail();
  showIds();
  showMatrix();
  showChoices();
  showFilter();
  showDecision();
}

/** Show another filter for the same text: an inspection without feature maps. */
export function showAnother(inspection) {
  shown.filter = inspection.filter;
  bank = shown.banks.findIndex((each) => each.width === shown.filter.width);
  showChoices();
  showFilter();
}

/** Move the filter so that a word of the text is under it. */
export function goToWord(index) {
  if (!shown) return;
  slide.pause();
  slide.seek(shown.first_word + index - Math.floor(shown.filter.width / 2));
}

function choose(index) {
  const { width, filters } = shown.banks[bank];
  onFilter({ width, index: Math.max(0, Math.min(filters - 1, index)) });
}

function play() {
  if (slide.playing) slide.pause();
  else if (still.matches) {
    furthest = slide.last;
    seen = -1;
    slide.seek(shown.filter.position);
  } else {
    furthest = -1; // the curve grows anew
    seen = -1;
    slide.seek(slide.place >= slide.last || slide.place === shown.filter.position ? slide.first : slide.place);
    slide.play();
  }
}

const timeOf = (inspection) => inspection.ids.length;
const dimensions = () => shown.embedding[0].length;
const name = (place) => {
  const word = shown.explanation.words[place - shown.first_word];
  if (word) return word.text;
  return shown.ids[place] === 1 ? "start" : "pad";
};
const namesUnder = (place, width) => Array.from({ length: width }, (_, tap) => name(place + tap));

function under(place, width) {
  const words = namesUnder(place, width);
  if (words.every((word, tap) => word === "pad" && place + tap < shown.first_word)) return "padding";
  return `\u201c${words.join(" ")}\u201d`;
}

function showRail() {
  const time = timeOf(shown);
  const sizes = [
    ["step-ids", count(shown.explanation.words.length), "words read"],
    ["step-ids", count(time), "ids"],
    ["step-matrix", `${count(time)}${TIMES}${dimensions()}`, "matrix"],
    ["step-map", shown.banks.map((each) => `${count(time - each.width + 1)}${TIMES}${count(each.filters)}`).join(" + "), "feature map"],
    ["step-pool", shown.banks.map((each) => count(each.filters)).join(" + "), "highest values"],
    ...shown.layers.map((layer, index) => ["step-decide", count(layer.units), index === shown.layers.length - 1 ? "logit" + (layer.units > 1 ? "s" : "") : "dense"]),
    ["step-decide", percent(shown.explanation.prediction.score), shown.explanation.prediction.label],
  ];
  byId("rail").replaceChildren(...sizes.map(([step, size, title]) =>
    make("li", {}, make("a", { href: `#${step}` }, make("b", {}, size), make("span", {}, title)))));
}

function showIds() {
  const time = timeOf(shown);
  const words = shown.explanation.words;
  const pads = shown.ids.filter((id) => id === 0).length;
  const start = words.length < time ? 1 : 0;
  byId("ids-text").textContent =
    `This network knows ${count(shown.vocabulary_size - 3)}; any other word is 2, and 1 marks where a text starts. It always reads ${count(time)} ids: ` +
    (shown.explanation.prediction.truncated
      ? "of this text, which is longer, the last ones."
      : `this text has ${several(words.length, "word")}${start ? " and the start" : ""}, so ${several(pads, "pad")} (id 0) stand in front.`);
  const chips = [];
  if (pads) chips.push(make("span", { class: "chip filler" }, `pad \u00d7 ${count(pads)}`, make("b", {}, "0")));
  if (start) chips.push(make("span", { class: "chip filler" }, "start", make("b", {}, "1")));
  chips.push(...words.slice(0, CHIPS).map((word) =>
    make("span", { class: `chip${word.known ? "" : " unknown"}` }, word.text.toLowerCase(), make("b", {}, count(word.id)))));
  if (words.length > CHIPS) chips.push(make("span", { class: "chip filler" }, `${several(words.length - CHIPS, "more word")}`, make("b", {}, "\u2026")));
  byId("chips").replaceChildren(...chips);
  formula(byId("ids-formula"), "x = (x", { sub: "0" }, ", x", { sub: "1" }, ", \u2026, x", { sub: String(time - 1) }, ")",
    { size: `${count(time)} whole numbers from 0 to ${count(shown.vocabulary_size - 1)}` });
}

function showMatrix() {
  for (const element of document.querySelectorAll(".embedding-size")) element.textContent = count(dimensions());
  const time = timeOf(shown);
  shown.embeddingScale = scaleOf(shown.embedding.flat());
  byId("matrix").setAttribute("aria-label",
    `Heat map of ${count(time)} columns, one for each id, and ${dimensions()} rows. ` +
    `The first ${count(shown.first_word)} columns are padding and the start, the last ${count(time - shown.first_word)} the words.`);
  byId("matrix-caption").textContent =
    `${count(time)} words across, ${dimensions()} numbers down: ${count(time * dimensions())} numbers.` +
    (shown.first_word > 1 ? ` Where all columns are alike is padding; the words stand at the right, from column ${count(shown.first_word + 1)} on.` : "");
  showScale("matrix-scale", shown.embeddingScale);
  formula(byId("matrix-formula"), "E[x]", { size: `row x of a table of ${count(shown.vocabulary_size)}${TIMES}${dimensions()} learned numbers, looked up ${count(time)} times \u2192 ${count(time)}${TIMES}${dimensions()}` });
  drawMatrix();
}

function showScale(id, scale) {
  byId(id).replaceChildren(plain(-scale, 2), make("i", { "aria-hidden": "true" }), signed(scale, 2));
}

function matrixPicture() {
  pictures.matrix ??= picture(timeOf(shown), dimensions(), (column, row) => shown.embedding[column][row], shown.embeddingScale, palette());
  return pictures.matrix;
}

function drawMatrix() {
  const { context, width, height } = prepare(byId("matrix"));
  context.drawImage(matrixPicture(), 0, 0, width, height);
}

function showChoices() {
  const { width, index } = shown.filter;
  const options = shown.explanation.filters.map((each, rank) => {
    const option = make("option", { value: `${each.width}/${each.index}` },
      `${rank + 1}. no. ${each.index}${shown.banks.length > 1 ? ` (${each.width} wide)` : ""}: ${signed(each.activation * each.weight, 3)}`);
    option.selected = each.width === width && each.index === index;
    return option;
  });
  if (!options.some((option) => option.selected)) {
    const option = make("option", { value: "" }, `no. ${index}, chosen`);
    option.selected = true;
    options.unshift(option);
  }
  byId("filter-choice").replaceChildren(...options);
  byId("width-field").hidden = shown.banks.length < 2;
  byId("filter-width").replaceChildren(...shown.banks.map((each) => {
    const option = make("option", { value: each.width }, count(each.width));
    option.selected = each.width === width;
    return option;
  }));
  byId("filter-number").max = shown.banks.find((each) => each.width === width).filters - 1;
  byId("filter-number").value = index;
  byId("bank-field").hidden = shown.banks.length < 2;
  byId("bank").replaceChildren(...shown.banks.map((each, place) => {
    const option = make("option", { value: place }, count(each.width));
    option.selected = place === bank;
    return option;
  }));
}

function showFilter() {
  const { width, curve, position } = shown.filter;
  const size = dimensions();
  byId("patch-size").textContent = `${width}${TIMES}${size}`;
  byId("patch-numbers").textContent = count(width * size);
  shown.kernelScale = scaleOf(shown.filter.kernel.flat());
  pictures.filter = null;
  const low = Math.min(0, ...curve);
  const high = Math.max(0, ...curve);
  const room = (high - low || 1) * 0.08;
  points = curve.map((value, place) => `${place + width / 2},${-value}`);
  const svg = byId("curve");
  svg.setAttribute("viewBox", `0 ${-high - room} ${timeOf(shown)} ${high - low + 2 * room}`);
  byId("curve-zero").setAttribute("x2", timeOf(shown));
  svg.setAttribute("aria-label",
    `The filter's curve over ${count(curve.length)} places, from ${plain(Math.min(...curve))} to ${plain(Math.max(...curve))}, highest over ${under(position, width)}.`);
  byId("curve-caption").textContent =
    `Above, the whole matrix with the filter on it; below, its curve: ${count(curve.length)} places, because a filter ${several(width, "word")} wide fits ${count(timeOf(shown))} \u2212 ${width} + 1 times.`;
  formula(byId("slide-formula"), "F[t, f] = \u03a3", { sub: `k < ${width}` }, " \u03a3", { sub: `d < ${size}` }, " E[x", { sub: "t+k" }, "]", { sub: "d" }, " \u00b7 W[k, d, f]",
    { size: `${width}${TIMES}${size} numbers of the text, ${width}${TIMES}${size} of the filter \u2192 1 number` });
  const scrub = byId("scrub");
  scrub.max = curve.length - 1;
  furthest = curve.length - 1;
  seen = -1;
  slide.reset(curve.length - 1, Math.max(0, shown.first_word - width), position);
  showCurveTable();
  showMap();
  showPooled();
}

function showCurveTable() {
  if (!shown || !byId("curve-details").open) return;
  const { curve, width } = shown.filter;
  fillTable(byId("curve-table"), ["place", "words beneath", "sum of the products"],
    curve.map((value, place) => [count(place), under(place, width), plain(value, 6)]), [0, 2]);
}

/** Draw the filter at a place, which may lie between two positions. */
function showPlace(place) {
  if (!shown) return;
  const { width, curve } = shown.filter;
  const at = Math.floor(place + 1e-6);
  if (slide.playing) furthest = at;
  if (at !== seen) {
    seen = at;
    byId("curve-line").setAttribute("points", points.slice(0, Math.max(furthest, at) + 1).join(" "));
    byId("scrub").value = at;
    byId("scrub").setAttribute("aria-valuetext", `place ${at} of ${curve.length - 1}, over ${under(at, width)}: ${plain(curve[at])}`);
    showProduct(at);
    onPlace(at - shown.first_word, at - shown.first_word + width - 1);
  }
  drawClose(place);
  drawOverview(place);
  const here = byId("curve-here");
  const box = byId("curve").viewBox.baseVal;
  here.setAttribute("x1", place + width / 2);
  here.setAttribute("x2", place + width / 2);
  here.setAttribute("y1", box.y);
  here.setAttribute("y2", box.y + box.height);
}

function showProduct(at) {
  const { width, kernel, curve, bias, position, activation } = shown.filter;
  byId("dot-place").replaceChildren("At place ", make("b", {}, count(at)), `, over ${under(at, width)}`);
  const taps = byId("taps");
  if (taps.childElementCount !== 5 * (width + 1)) {
    taps.replaceChildren(
      make("span", { class: "head word-head" }, "word"), ...["its numbers", "\u00d7 the filter\u2019s", "= products"].map((head) => make("span", { class: "head" }, head)),
      make("span", { class: "head part" }, "added up"),
      ...Array.from({ length: width }, () => [
        make("span", { class: "name" }), ...[0, 1, 2].map(() => make("canvas", { "aria-hidden": "true" })), make("span", { class: "part" }),
      ]).flat());
  }
  const cells = Array.from(taps.children).slice(5);
  const products = kernel.map((row, tap) => row.map((weight, place) => weight * shown.embedding[at + tap][place]));
  const scale = Math.max(...products.flat().map(Math.abs)) || 1;
  const parts = products.map((row) => row.reduce((sum, product) => sum + product, 0));
  products.forEach((row, tap) => {
    const [title, numbers, pattern, multiplied, part] = cells.slice(5 * tap, 5 * tap + 5);
    title.textContent = name(at + tap);
    strip(numbers, shown.embedding[at + tap], shown.embeddingScale);
    strip(pattern, kernel[tap], shown.kernelScale);
    strip(multiplied, row, scale);
    part.textContent = signed(parts[tap]);
  });
  const sum = byId("dot-sum");
  sum.replaceChildren(parts.map((part, tap) => (tap ? `${part < 0 ? " \u2212 " : " + "}${Math.abs(part).toFixed(4)}` : plain(part))).join(""), " = ",
    make("b", { id: "dot" }, plain(curve[at])));
  if (at === position) {
    sum.append(` \u2014 the peak. With the bias ${signed(bias)} and after the activation it counts as `, make("b", {}, plain(activation)), ".");
  }
}

function strip(canvas, values, scale) {
  const { context, width, height } = prepare(canvas);
  context.drawImage(picture(values.length, 1, (column) => values[column], scale, palette()), 0, 0, width, height);
}

function drawClose(place) {
  const canvas = byId("close");
  const { context, width: whole, height } = prepare(canvas);
  const width = whole - MARGIN;
  const colours = palette();
  const { width: taps, curve, position } = shown.filter;
  const time = timeOf(shown);
  const columns = Math.min(time, Math.max(taps + 2, Math.floor(width / COLUMN)));
  const column = width / columns;
  const start = Math.max(0, Math.min(time - columns, place + taps / 2 - columns / 2));
  const x = (at) => (at - start) * column;
  const heat = (height - LABELS - CURVE - GAP) / 2;
  const patch = LABELS + heat + GAP;
  context.drawImage(matrixPicture(), start, 0, columns, dimensions(), 0, LABELS, width, heat);
  context.fillStyle = css(colours.card);
  for (let at = Math.ceil(start); at < start + columns; at++) context.fillRect(x(at) - 0.75, LABELS, 1.5, heat);

  context.font = `15px ${getComputedStyle(document.body).getPropertyValue("--serif")}`;
  context.textBaseline = "middle";
  for (let at = Math.floor(start); at < Math.min(time, start + columns); at++) {
    const covered = at + 0.5 > place && at + 0.5 < place + taps;
    context.save();
    context.translate(x(at + 0.5) - 6, LABELS - 8);
    context.rotate(-0.75);
    context.fillStyle = css(covered ? colours.ink : colours.muted, at < shown.first_word ? 0.7 : 1);
    context.fillText(shorten(name(at)), 0, 0);
    context.restore();
  }

  const low = Math.min(0, ...curve);
  const high = Math.max(0, ...curve);
  const bottom = height - 8;
  const y = (value) => bottom - ((value - low) / (high - low || 1)) * (CURVE - 26);
  context.fillStyle = css(colours.line);
  context.fillRect(0, y(0), width, 1);
  context.strokeStyle = css(colours.positive);
  context.lineWidth = 2;
  context.beginPath();
  const reached = Math.max(furthest, Math.floor(place + 1e-6));
  for (let at = Math.max(0, Math.floor(start) - 1); at <= Math.min(curve.length - 1, Math.ceil(start + columns), reached); at++) context.lineTo(x(at + taps / 2), y(curve[at]));
  context.stroke();
  for (let at = Math.max(0, Math.floor(start) - 1); at <= Math.min(curve.length - 1, Math.ceil(start + columns), reached); at++) {
    context.fillStyle = css(at === position ? colours.ink : colours.positive);
    context.beginPath();
    context.arc(x(at + taps / 2), y(curve[at]), at === position ? 5 : 3, 0, 7);
    context.fill();
  }
  pictures.filter ??= picture(taps, dimensions(), (tap, row) => shown.filter.kernel[tap][row], shown.kernelScale, colours);
  context.drawImage(pictures.filter, x(place), patch, taps * column, heat);
  context.font = `14px ${getComputedStyle(document.body).getPropertyValue("--sans")}`;
  const title = `filter no. ${shown.filter.index}`;
  const atLeft = x(place) > context.measureText(title).width + 12;
  context.fillStyle = css(colours.muted);
  context.textAlign = atLeft ? "right" : "left";
  context.fillText(title, atLeft ? x(place) - 10 : x(place + taps) + 10, patch + heat / 2);
  frame(context, colours, x(place) + 1, LABELS + 1, taps * column - 2, heat - 2);
  frame(context, colours, x(place) + 1, patch + 1, taps * column - 2, heat - 2);
  context.fillStyle = css(colours.frame);
  context.fillRect(x(place + taps / 2) - 0.5, patch + heat, 1, height);
  canvas.setAttribute("aria-label", `The filter over ${under(seen, taps)}. Its sum there is ${plain(curve[seen])}.`);
}

const shorten = (word) => (word.length > 13 ? `${word.slice(0, 12)}\u2026` : word);

function drawOverview(place) {
  const { context, width, height } = prepare(byId("overview"));
  context.drawImage(matrixPicture(), 0, 0, width, height);
  const column = width / timeOf(shown);
  frame(context, palette(), place * column, 1, Math.max(4, shown.filter.width * column), height - 2);
}

function showMap() {
  const { width, filters, feature_map: map } = shown.banks[bank];
  for (const element of document.querySelectorAll(".filters-count")) element.textContent = shown.banks.map((each) => count(each.filters)).join(" + ");
  shown.mapScale = scaleOf(map.flat());
  pictures.map = null;
  const rows = `${count(map.length)}${TIMES}${count(filters)}`;
  byId("map").setAttribute("aria-label", `Heat map of the feature map: ${count(map.length)} places across, ${count(filters)} filters down.`);
  byId("map-caption").textContent = `${count(map.length)} places across, ${count(filters)} filters down: ${count(map.length * filters)} numbers.`;
  showScale("map-scale", shown.mapScale);
  formula(byId("map-formula"), "F = E[x] \u2217 W", { size: `${count(timeOf(shown))}${TIMES}${dimensions()} and ${count(filters)} filters of ${width}${TIMES}${dimensions()} \u2192 ${rows}` });
  drawMap();
}

function drawMap() {
  const { context, width, height } = prepare(byId("map"));
  const colours = palette();
  const each = shown.banks[bank];
  pictures.map ??= picture(each.feature_map.length, each.filters, (column, row) => each.feature_map[column][row], shown.mapScale, colours);
  const first = byId("crop").checked ? Math.min(Math.max(0, shown.first_word - each.width), each.feature_map.length - 1) : 0;
  const columns = each.feature_map.length - first;
  context.imageSmoothingEnabled = columns > width || each.filters > height;
  context.drawImage(pictures.map, first, 0, columns, each.filters, 0, 0, width, height);
  const row = height / each.filters;
  const column = width / columns;
  each.positions.forEach((position, index) => {
    if (each.pooled[index] <= 0 || position < first) return;
    context.fillStyle = css(colours.frame, 0.85);
    context.beginPath();
    context.arc((position - first + 0.5) * column, (index + 0.5) * row, 1.4, 0, 7);
    context.fill();
  });
  if (each.width !== shown.filter.width) return;
  const y = (shown.filter.index + 0.5) * row;
  frame(context, colours, 1, y - Math.max(2.5, row / 2), width - 2, Math.max(5, row));
}

function showPooled() {
  const each = shown.banks[bank];
  const { width, index, position, curve, bias, activation, weight } = shown.filter;
  const counting = each.pooled.filter((value) => value > 0).length;
  byId("pooled").setAttribute("aria-label", `Bars of the ${count(each.filters)} highest values; ${count(counting)} are above zero.`);
  byId("pooled-caption").textContent =
    `${count(each.filters)} bars, one a filter: blue where it speaks for ${shown.target}, orange where against; the stronger the colour, the more it moves the decision. ${count(counting)} are above zero.`;
  byId("pooled-text").replaceChildren(
    `Filter no. ${index} is highest over ${under(position, width)}: `, make("b", {}, plain(curve[position])), ` ${bias < 0 ? "\u2212" : "+"} ${Math.abs(bias).toFixed(4)} (its bias), which counts as `,
    make("b", { id: "kept" }, plain(activation)), `. Each unit of it changes the logit by ${signed(weight)}, so it moves it by `, make("b", { class: side(activation * weight) }, signed(activation * weight)), ".");
  formula(byId("pool-formula"), "m", { sub: "f" }, ` = ${activationOf(each.activations).before}max`, { sub: "t" }, " F[t, f] + b", { sub: "f" }, activationOf(each.activations).after,
    { size: `${count(each.feature_map.length)}${TIMES}${count(each.filters)} \u2192 ${count(each.filters)}` });
  drawPooled();
}

function activationOf(operators) {
  if (!operators.length || operators.every((operator) => operator === "Identity")) return { before: "", after: "" };
  if (operators.length === 1 && operators[0] === "Relu") return { before: "max(0, ", after: ")" };
  return { before: `${operators.toReversed().map((operator) => operator.toLowerCase()).join("(")}(`, after: ")".repeat(operators.length) };
}

function drawPooled() {
  const each = shown.banks[bank];
  const moves = each.pooled.map((value, index) => value * each.weights[index]);
  const scale = scaleOf(moves);
  bars(byId("pooled"), each.pooled, (index, colours) => css(colour({ ...colours, neutral: colours.line }, moves[index], scale)),
    each.width === shown.filter.width ? shown.filter.index : -1);
}

function showDecision() {
  const last = shown.layers.at(-1);
  const { label, prediction, logit } = shown.explanation;
  const features = shown.banks.flatMap((each) => each.pooled);
  const featureWeights = shown.banks.flatMap((each) => each.weights);
  const steps = [{ values: features, weights: featureWeights }, ...shown.layers.slice(0, -1)];
  const inner = shown.layers.slice(0, -1);
  byId("decide-text").textContent =
    (inner.length ? `A dense layer mixes the ${count(features.length)} values into ${inner.map((layer) => count(layer.units)).join(", then ")} new ones: each is a sum of all of them, with a learned weight for each. ` : "") +
    `The last layer adds up what is left, with its own weights, into ${last.units === 1 ? "one number, the logit" : `one number for each of the ${last.units} labels, the logits`}. ` +
    (shown.final === "Sigmoid" ? "The sigmoid squeezes it between 0 and 1: that is the probability." : "The softmax makes probabilities of them that add up to 1.");
  byId("layers").replaceChildren(...inner.map((layer, index) => {
    const moves = layer.values.map((value, unit) => value * layer.weights[unit]);
    const canvas = make("canvas", { class: "bars", role: "img", "aria-label": `Bars of what each of the ${count(layer.units)} units adds to the logit.` });
    const figure = make("figure", { class: "layer" }, canvas, make("figcaption", {},
      `Dense layer, ${count(steps[index].values.length)} \u2192 ${count(layer.units)}${layer.activations.length ? `, ${layer.activations.map((each) => each.toLowerCase()).join(", ")}` : ""}: what each unit, times its weight, adds to the logit.`));
    requestAnimationFrame(() => drawLayer(canvas, moves));
    canvas.redraw = () => drawLayer(canvas, moves);
    return figure;
  }));
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
    formula(byId("decide-formula"), "p = 1 / (1 + e", { sup: "\u2212logit" }, ") = 1 / (1 + e", { sup: plain(-logit) }, `) = ${probability.toFixed(6)}`,
      { size: `${count(features.length)} \u2192 ${shown.layers.map((layer) => count(layer.units)).join(" \u2192 ")}` });
  } else {
    const table = make("table");
    const total = last.values.reduce((all, value) => all + Math.exp(value), 0);
    fillTable(table, ["label", "logit", "e to the logit", "probability"], shown.labels.map((each, index) => [
      each === label ? `${each} (explained)` : each, signed(last.values[index]), Math.exp(last.values[index]).toPrecision(5), percent(Math.exp(last.values[index]) / total)]), [1, 2, 3]);
    exact.push(table);
    formula(byId("decide-formula"), "p", { sub: "i" }, " = e", { sup: "logit i" }, " / \u03a3", { sub: "j" }, " e", { sup: "logit j" },
      { size: `${count(features.length)} \u2192 ${shown.layers.map((layer) => count(layer.units)).join(" \u2192 ")}` });
  }
  byId("final-numbers").replaceChildren(...exact);
}

function drawLayer(canvas, moves) {
  bars(canvas, moves, (index, colours) => css(moves[index] < 0 ? colours.negative : colours.positive));
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

function redraw() {
  if (!shown) return;
  pictures = {};
  drawMatrix();
  showPlaceAgain();
  drawMap();
  drawPooled();
  for (const canvas of document.querySelectorAll("#layers canvas")) canvas.redraw();
}

function showPlaceAgain() {
  seen = -1;
  showPlace(slide.place);
}
