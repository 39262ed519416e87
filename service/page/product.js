// The filter at one place: the numbers of the words beneath it, those of the filter, their products, and the sum of these.

import { byId, isolate, make } from "./dom.js";
import { count, plain, signed } from "./format.js";
import { paint } from "./heat.js";
import { bankOf, dimensionsOf, nameAt, positionsUnder, wordsUnder } from "./inspection.js";

const HELD = 0.2; // the last part of a step of the window, in which the whole sum stands
const HINT = "Point, tap or use the arrow keys to read a number.";

let shown = null; // an inspection, and the place whose products are shown
let rows = []; // of each word: its name, strips and sum, and the numbers that they show
let mark = null; // the number that is read: its row and its index there

/** Wire the numbers. A row is one tab stop, and the arrow keys move between its numbers. */
export function startProduct() {
  const taps = byId("taps");
  const at = ({ target, clientX }) => {
    const strip = target.closest?.(".strip");
    if (!strip) return null;
    const row = rows.findIndex(({ strips }) => strips.includes(strip));
    const { left, width } = strip.getBoundingClientRect();
    return { row, number: within(Math.floor(((clientX - left) / width) * sizeOf(row)), row) };
  };
  const point = (event) => read(at(event) ?? focused());
  taps.addEventListener("pointermove", point);
  taps.addEventListener("pointerdown", point);
  taps.addEventListener("pointerleave", ({ pointerType }) => { if (pointerType === "mouse") read(focused()); });
  taps.addEventListener("mousedown", (event) => {
    const found = at(event);
    if (!found) return;
    event.preventDefault(); // only the first strip of a row takes the focus
    rows[found.row].number = found.number;
    rows[found.row].strips[0].focus({ preventScroll: true });
    read(found);
  });
  taps.addEventListener("focusin", () => read(focused()));
  taps.addEventListener("focusout", () => read(null));
  taps.addEventListener("keydown", (event) => {
    const { row, number } = focused();
    const next = { ArrowRight: number + 1, ArrowUp: number + 1, ArrowLeft: number - 1, ArrowDown: number - 1, Home: 0, End: sizeOf(row) - 1 }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    rows[row].number = within(next, row);
    read(focused());
  });
}

/** Show the products at a place of the filter of an inspection. `showSum` shows their sum. */
export function showProduct(inspection, place) {
  shown = { inspection, place };
  const { filter: { kernel }, embeddingScale, kernelScale } = inspection;
  const positions = positionsUnder(bankOf(inspection), place);
  const zeros = new Array(dimensionsOf(inspection)).fill(0);
  if (rows.length !== kernel.length) makeRows(kernel.length);
  rows.forEach((row, tap) => {
    row.numbers = inspection.embedding[positions[tap]] ?? zeros;
    row.weights = kernel[tap];
    row.products = row.weights.map((weight, index) => weight * row.numbers[index]);
    row.number = within(row.number, tap);
  });
  const scale = Math.max(...rows.flatMap(({ products }) => products.map(Math.abs))) || 1;
  byId("dot-place").replaceChildren("At place ", make("b", {}, count(place)), `, over ${wordsUnder(inspection, bankOf(inspection), place)}`);
  rows.forEach(({ name, strips, numbers, weights, products }, tap) => {
    const word = nameAt(inspection, positions[tap]);
    name.replaceChildren(isolate(word));
    strips[0].ariaLabel = `Numbers of ${word}, word ${tap + 1} under the filter`;
    strips[0].ariaValueMax = String(numbers.length);
    [[numbers, embeddingScale], [weights, kernelScale], [products, scale]].forEach(([values, full], index) =>
      paint(values.map((value) => [value]), full, strips[index].firstChild));
    describe(tap);
  });
  read(mark);
}

/** Show the sum of the products that the window has added up after a part of its step, from 0 to 1. */
export function showSum(part) {
  const { inspection: { filter }, place } = shown;
  const done = part < 1 ? Math.min(1, part / (1 - HELD)) : 1;
  const sums = rows.map(({ products }) => products.slice(0, Math.floor(done * products.length)).reduce((sum, product) => sum + product, 0));
  byId("taps").style.setProperty("--done", done);
  rows.forEach((row, tap) => { row.part.textContent = signed(sums[tap]); });
  const total = done < 1 ? sums.reduce((all, sum) => all + sum, 0) : filter.curve[place];
  byId("dot-sum").replaceChildren(sums.map((sum, tap) => (tap ? `${sum < 0 ? " \u2212 " : " + "}${Math.abs(sum).toFixed(4)}` : plain(sum))).join(""), " = ",
    make("b", { id: "dot" }, plain(total)), ...(done === 1 && place === filter.position ? peakOf(filter) : []));
}

function peakOf({ bias, activation }) {
  const kept = bankOf(shown.inspection).pooling === "mean" ? "the average over all places" : "its value";
  return [`, the peak. After the bias ${signed(bias)} and the activation, ${kept} is `, make("b", {}, plain(activation)), "."];
}

function makeRows(number) {
  const strip = (attributes) => make("span", { class: "strip", ...attributes }, make("canvas", { "aria-hidden": "true" }));
  rows = Array.from({ length: number }, () => ({
    name: make("span", { class: "name" }),
    strips: [strip({ role: "slider", tabindex: 0, "aria-valuemin": 1 }), strip(), strip({ class: "strip products" })],
    signs: ["", "\u00d7", "="].map((sign) => make("span", { class: "sign", "aria-hidden": "true" }, sign)), // on phones, which have no heads
    part: make("span", { class: "part" }),
    number: 0,
  }));
  mark = null;
  byId("taps").replaceChildren(
    ...["word", "its numbers", "\u00d7 the filter\u2019s", "= products"].map((head) => make("span", { class: "head" }, head)),
    make("span", { class: "head part" }, "added up"),
    ...rows.flatMap(({ name, strips, signs, part }) => [name, ...strips.flatMap((each, index) => [signs[index], each]), part]));
}

const sizeOf = (row) => rows[row].numbers.length;
const within = (number, row) => Math.max(0, Math.min(sizeOf(row) - 1, number));

/** The number that the keyboard is at; null if the focus is elsewhere. */
function focused() {
  const row = rows.findIndex(({ strips }) => strips[0] === document.activeElement);
  return row < 0 ? null : { row, number: rows[row].number };
}

/** Read a number: mark it in the strips of its row, and show its product. */
function read(next) {
  mark = next;
  rows.forEach(({ strips }, row) => strips.forEach((each) => each.classList.toggle("marked", mark?.row === row)));
  if (mark) {
    for (const each of rows[mark.row].strips) each.style.setProperty("--at", (mark.number + 0.5) / sizeOf(mark.row));
    describe(mark.row);
  }
  byId("tap-number").replaceChildren(...(mark ? productOf(mark) : [HINT]));
}

/** Say to a screen reader which number of a row the keyboard is at. */
function describe(row) {
  const { strips, number } = rows[row];
  strips[0].ariaValueNow = String(number + 1);
  strips[0].ariaValueText = productOf({ row, number }).map((part) => part.textContent ?? part).join("");
}

function productOf({ row, number }) {
  const { name, numbers, weights, products } = rows[row];
  return [isolate(name.textContent), `, number ${number + 1} of ${numbers.length}: ${plain(numbers[number])} \u00d7 ${plain(weights[number])} = `, make("b", {}, plain(products[number]))];
}
