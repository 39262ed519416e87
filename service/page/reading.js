// "How it works": the six steps from words to a decision, drawn from the answer of `/v1/inspect`.

import { showDecision } from "./decision.js";
import { byId, fillSelect, fillTable, isolate, make, sizes, sub } from "./dom.js";
import { showBank, startMap } from "./feature-map.js";
import { count, percent, plain, several, signed } from "./format.js";
import { css, frame, keepDrawn, paint, palette, prepare, scaleOf, showScale } from "./heat.js";
import { bankOf, dimensionsOf, isStart, isTables, nameAt, pictured, placesOf, positionsUnder, spanOf, startOf, TIMES, timeOf, wordAt, wordsUnder } from "./inspection.js";
import { showProduct, showSum, startProduct } from "./product.js";
import { Slide } from "./slide.js";

const CHIPS = 40; // number of words that are shown with their ids
// Sizes of the close-up in CSS pixels.
const COLUMN = 46; // minimum width of a word
const LABELS = 84; // height of the words above the matrix
const CURVE = 84; // height of the curve below the matrix
const GAP = 10; // between the matrix and the filter
const MARGIN = 36; // at the right, for the last word
const SUMMED = 10; // places per second up to which a reader can follow the sum of each place

const still = matchMedia("(prefers-reduced-motion: reduce)");

let shown = null; // an inspection
let painted = null; // a picture of its matrix with the padding
let points = []; // points of the curve
let seen = -1; // the position of the numbers that are shown
let furthest = -1; // how far the curve has been drawn for this filter
let onFilter = () => {};

const slide = new Slide(showPlace, (playing) => {
  byId("play").textContent = playing ? "Pause" : "Play";
});

/** Wire the controls. Calls `chosen({width, index})` when a filter is chosen. */
export function start(chosen) {
  onFilter = chosen;
  byId("play").addEventListener("click", play);
  byId("back").addEventListener("click", () => slide.seek(Math.round(slide.place) - 1));
  byId("forward").addEventListener("click", () => slide.seek(Math.round(slide.place) + 1));
  byId("peak").addEventListener("click", () => slide.seek(shown.filter.position));
  byId("scrub").addEventListener("input", (event) => slide.seek(Number(event.target.value)));
  byId("filter-choice").addEventListener("change", (event) => {
    const [width, index] = event.target.value.split("/").map(Number);
    onFilter({ width, index });
  });
  const byNumber = () => {
    const field = byId("filter-number");
    const width = Number(byId("filter-width").value);
    const index = Math.max(0, Math.min(filtersOf(width) - 1, Math.round(Number(field.value) || 0)));
    onFilter({ width, index });
  };
  byId("filter-number").addEventListener("change", byNumber);
  byId("filter-width").addEventListener("change", byNumber);
  startMap(chosen);
  startProduct();
  byId("curve").addEventListener("click", (event) => {
    const place = event.currentTarget.getBoundingClientRect();
    const bank = bankOf(shown);
    const [from, to] = range();
    slide.seek(Math.round(from + ((event.clientX - place.left) / place.width) * (to - from) - spanOf(bank) / 2 + bank.padding[0]));
  });
  byId("crop").addEventListener("change", () => {
    showMatrix();
    showRange();
    redraw();
  });
  byId("curve-details").addEventListener("toggle", showCurveTable);
  keepDrawn(byId("matrix"), redraw);
}

/** Show all steps for a text. `target` is the label of the logit, and `tokenizer` is the tokenizer of the model. */
export function show(inspection, target, tokenizer) {
  shown = { ...inspection, target, tokenizer };
  showRail();
  showIds();
  showMatrix();
  showChoices();
  showFilter();
  showDecision(shown);
}

/** Move the filter so that a word of the text is under it. */
export function goToWord(index) {
  if (!shown) return;
  const bank = bankOf(shown);
  slide.seek(shown.first_word + index + bank.padding[0] - Math.floor(bank.width / 2) * bank.dilation);
}

/** The positions in the overview pictures. */
const range = () => pictured(shown, byId("crop").checked);

function play() {
  if (slide.playing) {
    slide.pause();
    return;
  }
  seen = -1;
  furthest = still.matches ? slide.last : -1; // show the whole curve, or start to draw it again
  if (still.matches) slide.seek(shown.filter.position);
  else slide.play(slide.place === shown.filter.position ? slide.first : slide.place);
}

function showRail() {
  const time = timeOf(shown);
  const sizes = [
    ["step-ids", count(shown.explanation.words.length), "words read"],
    ["step-ids", count(time), "ids"],
    ["step-matrix", `${count(time)}${TIMES}${dimensionsOf(shown)}`, "matrix"],
    ["step-map", shown.banks.map((each) => `${count(placesOf(shown, each))}${TIMES}${count(each.filters)}`).join(" + "), "feature map"],
    ["step-pool", shown.banks.map((each) => count(each.filters)).join(" + "), shown.banks.some((each) => each.pooling === "mean") ? "pooled values" : "highest values"],
    ...shown.layers.map((layer, index) => ["step-decide", count(layer.units), index === shown.layers.length - 1 ? "logit" + (layer.units > 1 ? "s" : "") : "dense"]),
    ["step-decide", percent(shown.explanation.prediction.score), shown.explanation.prediction.label],
  ];
  byId("rail").replaceChildren(...sizes.map(([step, size, title]) =>
    make("li", {}, make("a", { href: `#${step}` }, make("b", {}, size), make("span", {}, title)))));
}

function showIds() {
  const time = timeOf(shown);
  const words = shown.explanation.words;
  const start = isStart(shown, shown.first_word - 1) ? 1 : 0;
  const pads = time - words.length - start;
  const behind = pads > 0 && shown.first_word === start;
  byId("ids-text").textContent =
    `There are ${count(shown.vocabulary_size)} ids, including padding and unknown words. The network always reads ${count(time)} ids. ` +
    (shown.explanation.prediction.truncated
      ? "This text is longer, so a part of it is cut off."
      : `This text has ${several(words.length, "word")}${start ? " and the start id" : ""}, so ${several(pads, "pad id")} ${pads === 1 ? "is" : "are"} added ${behind ? "after" : "before"} it.`);
  const chip = (kind, name, id) => make("span", { class: `chip ${kind}` }, isolate(name), make("b", {}, id));
  const padding = pads ? [chip("filler", `pad \u00d7 ${count(pads)}`, count(behind ? shown.ids.at(-1) : shown.ids[0]))] : [];
  byId("chips").replaceChildren(
    ...(behind ? [] : padding),
    ...(start ? [chip("filler", "start", count(shown.tokenizer.start_id))] : []),
    ...words.slice(0, CHIPS).map((word) => chip(word.known ? "" : "unknown", word.text.toLowerCase(), count(word.id))),
    ...(words.length > CHIPS ? [chip("filler", several(words.length - CHIPS, "more word"), "\u2026")] : []),
    ...(behind ? padding : []));
  byId("ids-formula").replaceChildren("x = (x", sub("0"), ", x", sub("1"), ", \u2026, x", sub(String(time - 1)), ")",
    sizes(`${count(time)} whole numbers from 0 to ${count(shown.vocabulary_size - 1)}`));
}

function showMatrix() {
  byId("embedding-size").textContent = count(dimensionsOf(shown));
  byId("matrix-learned").hidden = isTables(shown);
  byId("matrix-tables").hidden = !isTables(shown);
  const time = timeOf(shown);
  const [from, to] = range();
  shown.embeddingScale = scaleOf(shown.embedding.flat());
  byId("matrix").setAttribute("aria-label",
    `Heat map of ${count(time)} columns, one for each id, and ${dimensionsOf(shown)} rows. ` +
    (to - from < time ? `It shows columns ${count(from + 1)} to ${count(to)}. ` : "") +
    `Columns ${count(shown.first_word + 1)} to ${count(shown.first_word + shown.explanation.words.length)} are the words, the others padding${shown.tokenizer.start_id === null ? "" : " and the start id"}.`);
  byId("matrix-caption").textContent =
    `${count(time)} words across, ${dimensionsOf(shown)} numbers down: ${count(time * dimensionsOf(shown))} numbers.` +
    (shown.explanation.words.length + 1 < time ? ` The words begin at column ${count(shown.first_word + 1)}.` : "") +
    (to - from < time ? ` The picture leaves out ${several(time - to + from, "column")} of padding.` : "");
  showScale("matrix-scale", shown.embeddingScale);
  byId("matrix-formula").replaceChildren("E[x]", sizes(`row x of a table of ${count(shown.vocabulary_size)}${TIMES}${dimensionsOf(shown)} learned numbers, looked up ${count(time)} times \u2192 ${count(time)}${TIMES}${dimensionsOf(shown)}`));
  paintMatrix();
}

function paintMatrix() {
  painted = paint(shown.embedding, shown.embeddingScale);
  for (const id of ["matrix", "overview"]) paint(shown.embedding.slice(...range()), shown.embeddingScale, byId(id));
}

function showChoices() {
  const { width, index } = shown.filter;
  const chosen = `${width}/${index}`;
  const options = shown.explanation.filters.map((each, rank) => [`${each.width}/${each.index}`,
    `${rank + 1}. no. ${each.index}${shown.banks.length > 1 ? ` (${each.width} wide)` : ""}: ${signed(each.activation * each.weight, 3)}`]);
  if (!options.some(([value]) => value === chosen)) options.unshift([chosen, `no. ${index}, chosen`]);
  fillSelect(byId("filter-choice"), options, chosen);
  byId("width-field").hidden = shown.banks.length < 2;
  fillSelect(byId("filter-width"), [...new Set(shown.banks.map((each) => each.width))].map((each) => [each, count(each)]), width);
  byId("filter-number").max = filtersOf(width) - 1;
  byId("filter-number").value = index;
}

const filtersOf = (width) => shown.banks.reduce((sum, each) => sum + (each.width === width ? each.filters : 0), 0);

function showFilter() {
  const { width, curve, position } = shown.filter;
  const bank = bankOf(shown);
  const [before, behind] = bank.padding;
  const span = spanOf(bank);
  const size = dimensionsOf(shown);
  byId("patch-size").textContent = `${width}${TIMES}${size}`;
  byId("patch-numbers").textContent = count(width * size);
  shown.kernelScale = scaleOf(shown.filter.kernel.flat());
  points = curve.map((value, place) => `${startOf(bank, place) + span / 2},${-value}`);
  byId("curve").setAttribute("aria-label",
    `The filter's curve over ${count(curve.length)} places, from ${plain(Math.min(...curve))} to ${plain(Math.max(...curve))}, highest over ${wordsUnder(shown, bank, position)}.`);
  const skips = bank.dilation > 1 ? `, which reads one word in ${bank.dilation} and spans ${span},` : "";
  const zeros = before + behind ? ` + ${before + behind}` : "";
  byId("curve-caption").textContent =
    `The upper picture shows the matrix with the filter on it, the lower one its curve. The curve has ${count(curve.length)} places, because a filter ${several(width, "word")} wide${skips} fits ${count(timeOf(shown))}${zeros} \u2212 ${span} + 1 times.` +
    (zeros ? ` The convolution adds ${several(before, "column")} of zeros before the matrix and ${count(behind)} after it.` : "");
  byId("slide-formula").replaceChildren("F[t, f] = \u03a3", sub(`k < ${width}`), " \u03a3", sub(`d < ${size}`), " E[x", sub(`t+${bank.dilation > 1 ? bank.dilation : ""}k${before ? `\u2212${before}` : ""}`), "]", sub("d"), " \u00b7 W[k, d, f]",
    sizes(`${width}${TIMES}${size} numbers of the text, ${width}${TIMES}${size} of the filter \u2192 1 number`));
  showRange();
  furthest = curve.length - 1;
  seen = -1;
  slide.reset(curve.length - 1, Math.max(0, shown.first_word - span + before), position);
  showCurveTable();
  showBank(shown);
}

/** Fit the overview, the slider and the curve to the positions in the pictures. */
function showRange() {
  const { curve } = shown.filter;
  const bank = bankOf(shown);
  const [from, to] = range();
  const all = to - from === timeOf(shown);
  const low = Math.min(0, ...curve);
  const high = Math.max(0, ...curve);
  const room = (high - low || 1) * 0.08;
  byId("curve").setAttribute("viewBox", `${from} ${-high - room} ${to - from} ${high - low + 2 * room}`);
  byId("window").style.width = `${(100 * spanOf(bank)) / (to - from)}%`;
  byId("scrub").min = all ? 0 : from + bank.padding[0];
  byId("scrub").max = all ? curve.length - 1 : Math.min(curve.length - 1, to - spanOf(bank) + bank.padding[0]);
}

function showCurveTable() {
  if (!shown || !byId("curve-details").open) return;
  const { curve } = shown.filter;
  fillTable(byId("curve-table"), ["place", "words beneath", "sum of the products"],
    curve.map((value, place) => [count(place), wordsUnder(shown, bankOf(shown), place), plain(value, 6)]), [0, 2]);
}

/** Draw the filter at a place, which can be between two positions. */
function showPlace(place) {
  if (!shown) return;
  const { curve } = shown.filter;
  const bank = bankOf(shown);
  const middle = startOf(bank, place) + spanOf(bank) / 2;
  const at = Math.floor(place + 1e-6);
  if (slide.playing) furthest = at;
  if (at !== seen) {
    seen = at;
    byId("curve-line").setAttribute("points", points.slice(0, Math.max(furthest, at) + 1).join(" "));
    byId("scrub").value = at;
    byId("scrub").setAttribute("aria-valuetext", `place ${at} of ${curve.length - 1}, over ${wordsUnder(shown, bank, at)}: ${plain(curve[at])}`);
    showProduct(shown, at);
  }
  showSum(slide.playing && slide.rate <= SUMMED ? Math.max(0, place - at) : 1);
  drawClose(place);
  const [from, to] = range();
  byId("window").style.left = `${(100 * (startOf(bank, place) - from)) / (to - from)}%`;
  const { y, height } = byId("curve").viewBox.baseVal;
  byId("curve-here").setAttribute("d", `M${middle} ${y}v${height}`);
}

function drawClose(place) {
  const canvas = byId("close");
  const { context, width: whole, height } = prepare(canvas);
  const width = whole - MARGIN;
  const colours = palette();
  const { width: taps, curve, position } = shown.filter;
  const bank = bankOf(shown);
  const [before, behind] = bank.padding;
  const span = spanOf(bank);
  const time = timeOf(shown);
  const left = startOf(bank, place);
  const columns = Math.min(time + before + behind, Math.max(span + 2, Math.floor(width / COLUMN)));
  const column = width / columns;
  const start = Math.max(-before, Math.min(time + behind - columns, left + span / 2 - columns / 2));
  const x = (at) => (at - start) * column;
  const heat = (height - LABELS - CURVE - GAP) / 2;
  const patch = LABELS + heat + GAP;
  const first = Math.max(0, start); // the picture has no columns for the zeros around the ids
  const last = Math.min(time, start + columns);
  context.drawImage(painted, first, 0, last - first, dimensionsOf(shown), x(first), LABELS, (last - first) * column, heat);
  context.fillStyle = css(colours.card);
  for (let at = Math.ceil(start); at < start + columns; at++) context.fillRect(x(at) - 0.75, LABELS, 1.5, heat);

  context.font = `15px ${getComputedStyle(document.body).getPropertyValue("--serif")}`;
  context.textBaseline = "middle";
  const under = positionsUnder(bank, Math.round(place));
  for (let at = Math.floor(start); at < Math.min(time + behind, start + columns); at++) {
    const covered = under.includes(at);
    context.save();
    context.translate(x(at + 0.5) - 6, LABELS - 8);
    context.rotate(-0.75);
    context.fillStyle = css(covered ? colours.ink : colours.muted, wordAt(shown, at) ? 1 : 0.7);
    context.fillText(shorten(nameAt(shown, at)), 0, 0);
    context.restore();
  }

  const low = Math.min(0, ...curve);
  const high = Math.max(0, ...curve);
  const bottom = height - 8;
  const y = (value) => bottom - ((value - low) / (high - low || 1)) * (CURVE - 26);
  context.fillStyle = css(colours.line);
  context.fillRect(0, y(0), width, 1);
  context.strokeStyle = css(colours.for);
  context.lineWidth = 2;
  context.beginPath();
  const reached = Math.max(furthest, Math.floor(place + 1e-6));
  const from = Math.max(0, Math.floor(start) + before - span);
  const to = Math.min(curve.length - 1, Math.ceil(start + columns) + before, reached);
  const middle = (at) => x(startOf(bank, at) + span / 2);
  for (let at = from; at <= to; at++) context.lineTo(middle(at), y(curve[at]));
  context.stroke();
  for (let at = from; at <= to; at++) {
    context.fillStyle = css(at === position ? colours.ink : colours.for);
    context.beginPath();
    context.arc(middle(at), y(curve[at]), at === position ? 5 : 3, 0, 7);
    context.fill();
  }
  const pattern = paint(shown.filter.kernel, shown.kernelScale);
  for (let tap = 0; tap < taps; tap++) {
    context.drawImage(pattern, tap, 0, 1, dimensionsOf(shown), x(left + tap * bank.dilation), patch, column, heat);
  }
  context.font = `14px ${getComputedStyle(document.body).getPropertyValue("--sans")}`;
  const title = `filter no. ${shown.filter.index}`;
  const atLeft = x(left) > context.measureText(title).width + 12;
  context.fillStyle = css(colours.muted);
  context.textAlign = atLeft ? "right" : "left";
  context.fillText(title, atLeft ? x(left) - 10 : x(left + span) + 10, patch + heat / 2);
  frame(context, colours, x(left) + 1, LABELS + 1, span * column - 2, heat - 2);
  frame(context, colours, x(left) + 1, patch + 1, span * column - 2, heat - 2);
  context.fillStyle = css(colours.frame);
  context.fillRect(x(left + span / 2) - 0.5, patch + heat, 1, height);
  canvas.setAttribute("aria-label", `The filter over ${wordsUnder(shown, bank, seen)}. Its sum there is ${plain(curve[seen])}.`);
}

const shorten = (word) => (word.length > 13 ? `${word.slice(0, 12)}\u2026` : word);

function redraw() {
  if (!shown) return;
  paintMatrix();
  seen = -1;
  showPlace(slide.place);
}
