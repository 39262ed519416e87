// "Many texts": classifies lines or a column of a CSV file in several requests, and shows the predictions as a table.

import { distinctNames, parseCsv, writeCsv } from "./csv.js";
import { byId, fillSelect, isolate, make } from "./dom.js";
import { decode, ENCODINGS, likeliestEncoding, markedEncoding, UTF_8 } from "./encoding.js";
import { EXAMPLE } from "./example.js";
import { count, several } from "./format.js";
import { post, Trouble } from "./service.js";
import { noteOf, rowOf, startRows } from "./text-row.js";

// Limits of one request, a part of those that a service has by default. One with lower limits refuses it, and then the page
// halves the number of texts.
const TEXTS = 256;
const CHARACTERS = 200_000;

const MOST_TEXTS = 20_000;
const MOST_BYTES = 128 * 2 ** 20; // of a file
const MOST_ROWS = 200; // in the table
const RETRY = 2; // seconds until the page asks a busy service again, unless the service says how long
const PREVIEWED = 3; // values of the chosen column
const SAMPLED = 50; // records that tell a column of texts from others
const ADDED = ["text", "number", "label", "score", "tokens", "note"]; // columns of the download
const NUMBER = /^[\p{N}\s.,:;/%+\u2212-]+$/u; // also of a date
const NAMES = /^\p{L}[\p{L}\p{N}_ -]*([,;\t]\p{L}[\p{L}\p{N}_ -]*)+[\r\n]+[^\r\n]/u; // a header and more

let picked = false; // whether the reader chose the column
let opened = null; // the file, with its name and bytes, and its content in the chosen encoding
let texts = [];
let others = null; // the other columns of the CSV file: their names, and the values of each text
let rows = []; // the texts that are classified, with their predictions or errors
let asked = ""; // the request for the rows, without their texts
let order = { by: "number", down: false };
let running = null; // an AbortController
let decision = null; // what `startBatch` was given

/**
 * Wire the view. `parts` is what it asks the page for: `request()` returns the fields that name the model, `read(prediction)`
 * the displayed label, its score, whether the model is confident of it, and whether it knows a word. `note()` returns
 * what the labels follow from. `rows` is for the words of a row.
 */
export function startBatch(parts) {
  decision = parts;
  startRows(parts.rows);
  fillSelect(byId("texts-encoding"), ENCODINGS);
  byId("texts").addEventListener("input", typed);
  byId("texts-example").addEventListener("click", () => { byId("texts").value = EXAMPLE; typed(); });
  byId("texts-file").addEventListener("change", open);
  byId("texts-encoding").addEventListener("change", () => { readAs(byId("texts-encoding").value); changed(); });
  byId("texts-format").addEventListener("change", changed);
  byId("texts-column").addEventListener("change", () => { picked = true; changed(); });
  byId("batch").addEventListener("submit", (event) => { event.preventDefault(); begin(); });
  byId("stop").addEventListener("click", () => running.abort());
  byId("download").addEventListener("click", download);
  for (const head of document.querySelectorAll("#predictions th[data-sort]")) {
    head.firstElementChild.addEventListener("click", () => {
      const by = head.dataset.sort;
      order = { by, down: order.by === by ? !order.down : by !== "number" && by !== "label" };
      showRows();
    });
  }
  readTexts();
}

function typed() {
  opened = null;
  byId("texts-file").value = "";
  guessFormat();
  changed();
}

async function open() {
  const [file] = byId("texts-file").files;
  if (!file) return;
  const isLarge = file.size > MOST_BYTES;
  const bytes = isLarge ? new Uint8Array() : new Uint8Array(await file.arrayBuffer());
  if (byId("texts-file").files[0] !== file) return; // another one was chosen meanwhile
  byId("texts").value = "";
  picked = false;
  opened = { name: file.name, bytes, marked: markedEncoding(bytes), likeliest: likeliestEncoding(bytes) };
  readAs(opened.likeliest);
  if (isLarge) opened.problem = `${file.name} is larger than ${MOST_BYTES / 2 ** 20} MiB.`;
  guessFormat();
  changed();
}

/** Read the opened file in an encoding. */
function readAs(encoding) {
  const { name, bytes } = opened;
  const content = decode(bytes, encoding);
  const title = new Map(ENCODINGS).get(encoding);
  Object.assign(opened, { content: content ?? "", encoding, problem: content === null ? `${name} is not ${title} text. Choose another encoding.` : "" });
  byId("texts-encoding").value = encoding;
}

/** Say which encoding the opened file has, unless it is UTF-8. */
function showEncoding() {
  byId("encoding-field").hidden = byId("encoding-note").hidden = true;
  if (!opened) return;
  const { name, bytes, marked, likeliest, encoding, problem } = opened;
  const title = new Map(ENCODINGS).get(encoding);
  byId("encoding-field").hidden = !bytes.length;
  byId("texts-encoding").disabled = marked !== undefined;
  byId("encoding-note").hidden = Boolean(problem) || encoding === UTF_8;
  byId("encoding-note").textContent = marked
    ? `${name} is ${title}: it begins with a byte order mark.`
    : `${name} is read as ${title}${likeliest === UTF_8 ? "" : ", because it is not UTF-8"}. If the first values look wrong, choose another encoding.`;
}

/** Forget the predictions, which are those of other texts or of another model, and read the texts. */
function changed() {
  running?.abort();
  rows = [];
  byId("batch-status").textContent = "";
  readTexts();
  showRows();
}

/** Forget the predictions if the page requests another model. */
export function followModel() {
  if ((running || rows.length) && asked !== JSON.stringify(decision.request())) changed();
}

const content = () => (opened ? opened.content : byId("texts").value);

/** A file with the ending of CSV is CSV, and so is a text whose first line has a field `text`, or only names without spaces between them. */
function guessFormat() {
  const plain = content().replaceAll('"', "");
  const header = plain.split(/[\r\n]/, 1)[0].toLowerCase().split(/[,;\t]/).map((each) => each.trim());
  byId("texts-format").value = /\.[ct]sv$/i.test(opened?.name ?? "") || header.includes("text") || NAMES.test(plain) ? "csv" : "lines";
}

function readTexts() {
  let problem = opened?.problem ?? "";
  const csv = byId("texts-format").value === "csv";
  others = null;
  showEncoding();
  try {
    texts = csv ? column(parseCsv(content())) : content().split(/\r\n|\r|\n/).filter((line) => line.trim());
  } catch (error) {
    texts = [];
    problem ||= error.message;
  }
  byId("column-field").hidden = !csv;
  if (texts.length > MOST_TEXTS) problem = `These are ${count(texts.length)} texts, and the page classifies at most ${count(MOST_TEXTS)}. For more, use the command sentiment-conv1d predict.`;
  byId("texts-note").textContent = problem || `${opened ? `${opened.name}: ` : ""}${several(texts.length, "text")}`;
  byId("texts-preview").replaceChildren(...((csv || opened) && !problem ? preview() : []));
  byId("texts-note").classList.toggle("problem", Boolean(problem));
  byId("classify").disabled = Boolean(problem) || !texts.length || running !== null;
}

/** The first texts of the chosen column. */
function preview() {
  return texts.slice(0, PREVIEWED).map((text) => make("li", {}, isolate(text.length > 80 ? `${text.slice(0, 79)}\u2026` : text)));
}

/** Whether a word is an address or an identifier. */
const isCode = (word) => /[\d/@_=]/.test(word) && /^[!-~]*$/.test(word);

/** The number of letters of the words of a text. */
const lettersOf = (text) => text.split(/\s+/).filter((word) => !isCode(word)).join("").match(/\p{L}/gu)?.length ?? 0;

/** Whether most values, except empty ones, are numbers. */
const areNumbers = (values) => values.filter((value) => NUMBER.test(value)).length > values.filter((value) => value.trim()).length / 2;

/** The column that is most probably the one of the texts: the one named `text`, or the one with most letters. */
function likeliest(names, records) {
  const sample = records.slice(0, SAMPLED);
  const letters = names.map((_, index) => sample.reduce((sum, record) => sum + lettersOf(record[index]), 0));
  const named = names.findIndex((name) => name.toLowerCase() === "text");
  return letters[named] ? named : letters.indexOf(Math.max(...letters));
}

/** The texts of the chosen column. In another encoding of the same file, the choice stays. */
function column([header = [""], ...records]) {
  const select = byId("texts-column");
  const names = header.map((name) => name.trim() || "(no name)");
  const { length } = select.options;
  if (names.join("\n") !== [...select.options].map(({ text }) => text).join("\n")) {
    const index = select.selectedIndex;
    fillSelect(select, names.map((name, index) => [index, name]));
    picked &&= opened !== null && names.length === length;
    if (picked) select.selectedIndex = index;
  }
  if (!picked) select.selectedIndex = likeliest(names, records);
  const chosen = select.selectedIndex;
  const without = (record) => record.toSpliced(chosen, 1);
  others = { names: distinctNames(without(header), ADDED), values: (index) => without(records[index]) };
  return records.map((record) => record[chosen]);
}

function begin() {
  const [column] = byId("texts-column").selectedOptions;
  if (byId("texts-format").value === "csv" && areNumbers(texts) && !confirm(`The column \u201c${column.text}\u201d contains numbers. Classify them as texts?`)) return;
  const model = decision.request();
  asked = JSON.stringify(model);
  rows = [];
  return classify(model);
}

/** Classify the texts that have no row yet. One version answers all requests. */
async function classify(model) {
  running = new AbortController();
  const { signal } = running;
  const all = texts;
  const mine = rows;
  const size = new RequestSize();
  const progress = { from: mine.length, since: performance.now() };
  showRunning(true, all.length);
  try {
    while (mine.length < all.length && !signal.aborted) {
      const part = take(all, mine.length, size.texts);
      try {
        const { predictions, errors } = await post("v1/predict_batch", { texts: part, on_error: "report", ...model }, signal);
        const failed = new Map(errors?.map(({ index, message }) => [index, message]));
        predictions.forEach((prediction, index) => add(part[index], prediction, failed.get(index)));
        size.accepted();
        const answered = predictions.find(Boolean)?.model;
        if (answered) model = { model: answered.name, version: answered.version };
      } catch (error) {
        if (!(error instanceof Trouble)) throw error;
        if (error.status === 413 && part.length > 1) size.refused(part.length);
        else if (error.status === 413) add(part[0], null, error.message);
        else if (error.status === 429 || error.status === 503) await waitFor(error.retryAfter || RETRY, error.message, signal);
        else throw error;
      }
      showProgress(all.length, progress);
    }
  } catch (error) {
    if (error instanceof Trouble) decision.trouble(error, () => goOn(mine, model));
    else if (error.name !== "AbortError") throw error;
  } finally {
    running = null;
    showRunning(false, rows === mine ? all.length : 0);
  }
}

/** Go on after an error, unless the texts or the model have changed. */
function goOn(mine, model) {
  if (rows === mine && !running) classify(model);
}

/**
 * The number of texts of a request. It is halved if a request is too large, which can be due to one text, so it grows again
 * after requests that are accepted: after the double number of them if the last growth was in vain.
 */
class RequestSize {
  texts = TEXTS;
  #patience = 1;
  #accepted = 0;
  #grown = false;

  refused(texts) {
    if (this.#grown) this.#patience *= 2;
    this.texts = Math.ceil(texts / 2);
    this.#accepted = 0;
    this.#grown = false;
  }

  accepted() {
    this.#grown = false;
    this.#accepted += 1;
    if (this.texts === TEXTS || this.#accepted < this.#patience) return;
    this.texts = Math.min(TEXTS, 2 * this.texts);
    this.#accepted = 0;
    this.#grown = true;
  }
}

/** The next texts that fit into a request, at least one. */
function take(all, start, most) {
  let end = start + 1;
  let characters = all[start].length;
  while (end < all.length && end - start < most && (characters += all[end].length) <= CHARACTERS) end += 1;
  return all.slice(start, end);
}

function waitFor(seconds, message, signal) {
  byId("batch-status").textContent = `${message} Trying again in ${seconds} s.`;
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, 1000 * seconds);
    signal.addEventListener("abort", () => { clearTimeout(timer); resolve(); });
  });
}

function add(text, prediction, error) {
  rows.push({ number: rows.length + 1, text, prediction, error, tokens: prediction?.tokens });
}

function showRunning(now, total) {
  byId("classify").disabled = now;
  for (const id of ["stop", "progress", "progress-count"]) byId(id).hidden = !now;
  byId("progress").max = total || 1;
  byId("batch-status").textContent = now || rows.length === total ? "" : `${count(rows.length)} of ${count(total)} classified`;
  if (now) {
    showProgress(total);
    return;
  }
  readTexts();
  showRows();
}

/** Show how many texts have a row and, if it is known since when, how long the others will take. */
function showProgress(total, { from, since } = {}) {
  const rest = (total - rows.length) * (performance.now() - since) / (rows.length - from);
  byId("batch-status").textContent = "";
  byId("progress").value = rows.length;
  byId("progress-count").textContent = `${count(rows.length)} of ${count(total)} classified${rest < Infinity && rest > 0 ? `, about ${several(Math.ceil(rest / 1000), "second")} left` : ""}`;
}

/** Show the predictions in the chosen order, for example after the threshold has changed. */
export function showRows() {
  byId("batch-result").hidden = !rows.length;
  if (!rows.length) return;
  for (const row of rows) Object.assign(row, row.prediction ? decision.read(row.prediction) : {});
  const tally = new Map();
  for (const row of rows) tally.set(kindOf(row), (tally.get(kindOf(row)) ?? 0) + 1);
  byId("batch-summary").textContent = `${several(rows.length, "text")}: ${[...tally].map(([label, number]) => `${count(number)} ${label}`).join(", ")}`;
  byId("batch-note").textContent = [
    decision.note(),
    rows.length > MOST_ROWS ? `The table shows ${MOST_ROWS} rows.` : "",
  ].filter(Boolean).join(" ");
  for (const head of document.querySelectorAll("#predictions th[data-sort]")) {
    head.ariaSort = head.dataset.sort !== order.by ? "none" : order.down ? "descending" : "ascending";
  }
  document.querySelector("#predictions tbody").replaceChildren(...sorted().slice(0, MOST_ROWS).map(rowOf));
}

/** The rows in the chosen order; those without a value come last. */
function sorted() {
  const { by, down } = order;
  const compare = (one, other) => (one < other ? -1 : Number(one > other));
  return rows.toSorted(({ [by]: one }, { [by]: other }) =>
    one === undefined || other === undefined ? (one === undefined) - (other === undefined) : (down ? -1 : 1) * compare(one, other));
}

/** The label of a row, or why it has none that means something. */
function kindOf({ label, known, error }) {
  if (error) return "failed";
  return known ? label : "without a known word";
}

function download() {
  const { names, values } = others ?? { names: [], values: () => [] };
  const records = sorted().map((row) =>
    [row.text, row.number, row.label ?? "", row.score ?? "", row.tokens ?? "", noteOf(row), ...values(row.number - 1)]);
  // Spreadsheets recognize UTF-8 by a byte order mark.
  const file = new Blob(["\ufeff", writeCsv([[...ADDED, ...names], ...records])], { type: "text/csv" });
  const link = make("a", { href: URL.createObjectURL(file), download: "predictions.csv" });
  link.click();
  URL.revokeObjectURL(link.href);
}
