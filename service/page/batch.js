// "Many texts": classifies lines or a column of a CSV file in several requests, and shows the predictions as a table.

import { parseCsv, writeCsv } from "./csv.js";
import { byId, fillSelect, isolate, make } from "./dom.js";
import { count, percent, several } from "./format.js";
import { post, Trouble } from "./service.js";

// Limits of one request. A service with lower limits refuses it, and then the page halves the number of texts.
const TEXTS = 256;
const CHARACTERS = 200_000;

const MOST_TEXTS = 10_000;
const MOST_BYTES = 16 * 2 ** 20; // of a file
const MOST_ROWS = 200; // in the table
const RETRY = 2; // seconds until the page asks a busy service again, unless the service says how long
const PREVIEWED = 3; // values of the chosen column
const SAMPLED = 50; // records that tell a column of texts from others
const NUMBER = /^[\p{N}\s.,:;/%+\u2212-]+$/u; // also of a date
const NAMES = /^\p{L}[\p{L}\p{N}_ -]*([,;\t]\p{L}[\p{L}\p{N}_ -]*)+[\r\n]+[^\r\n]/u; // a header and more

let picked = false; // whether the reader chose the column
let opened = null; // the file, with its name and content
let texts = [];
let rows = []; // the texts that are classified, with their predictions or errors
let asked = ""; // the request for the rows, without their texts
let order = { by: "number", down: false };
let running = null; // an AbortController
let decision = null; // what `startBatch` was given

/**
 * Wire the view. `parts` is what it asks the page for: `request()` returns the fields that name the model, `read(prediction)`
 * the displayed label, its score, whether the model is confident of it, and whether it knows a word. `note()` returns
 * what the labels follow from.
 */
export function startBatch(parts) {
  decision = parts;
  byId("texts").addEventListener("input", () => { opened = null; byId("texts-file").value = ""; guessFormat(); changed(); });
  byId("texts-file").addEventListener("change", open);
  byId("texts-format").addEventListener("change", changed);
  byId("texts-column").addEventListener("change", () => { picked = true; changed(); });
  byId("batch").addEventListener("submit", (event) => { event.preventDefault(); classify(); });
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

async function open() {
  const [file] = byId("texts-file").files;
  if (!file) return;
  byId("texts").value = "";
  try {
    if (file.size > MOST_BYTES) throw new RangeError(`${file.name} is larger than ${MOST_BYTES / 2 ** 20} MiB.`);
    opened = { name: file.name, content: new TextDecoder("utf-8", { fatal: true }).decode(await file.arrayBuffer()) };
  } catch (error) {
    opened = { name: file.name, content: "", problem: error instanceof RangeError ? error.message : `${file.name} is not UTF-8 text.` };
  }
  guessFormat();
  changed();
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
  try {
    texts = csv ? column(parseCsv(content())) : content().split(/\r\n|\r|\n/).filter((line) => line.trim());
  } catch (error) {
    texts = [];
    problem ||= error.message;
  }
  byId("column-field").hidden = !csv;
  if (texts.length > MOST_TEXTS) problem = `These are ${count(texts.length)} texts, and the page classifies at most ${count(MOST_TEXTS)}. For more, use the command sentiment-conv1d predict.`;
  byId("texts-note").textContent = problem || `${opened ? `${opened.name}: ` : ""}${several(texts.length, "text")}`;
  byId("texts-preview").replaceChildren(...(csv && !problem ? preview() : []));
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

/** The texts of the chosen column. */
function column([header = [""], ...records]) {
  const select = byId("texts-column");
  const names = header.map((name) => name.trim() || "(no name)");
  if (names.join("\n") !== [...select.options].map(({ text }) => text).join("\n")) {
    fillSelect(select, names.map((name, index) => [index, name]));
    picked = false;
  }
  if (!picked) select.selectedIndex = likeliest(names, records);
  return records.map((record) => record[select.selectedIndex]);
}

async function classify() {
  const [column] = byId("texts-column").selectedOptions;
  if (byId("texts-format").value === "csv" && areNumbers(texts) && !confirm(`The column \u201c${column.text}\u201d contains numbers. Classify them as texts?`)) return;
  running = new AbortController();
  const { signal } = running;
  const all = texts;
  let model = decision.request();
  asked = JSON.stringify(model);
  let most = TEXTS;
  const mine = (rows = []);
  showRunning(true, all.length);
  try {
    while (mine.length < all.length && !signal.aborted) {
      const part = take(all, mine.length, most);
      try {
        const { predictions, errors } = await post("v1/predict_batch", { texts: part, on_error: "report", ...model }, signal);
        const failed = new Map(errors?.map(({ index, message }) => [index, message]));
        predictions.forEach((prediction, index) => add(part[index], prediction, failed.get(index)));
        // One version answers all requests.
        const answered = predictions.find(Boolean)?.model;
        if (answered) model = { model: answered.name, version: answered.version };
      } catch (error) {
        if (!(error instanceof Trouble)) throw error;
        if (error.status === 413 && part.length > 1) most = Math.ceil(part.length / 2);
        else if (error.status === 413) add(part[0], null, error.message);
        else if (error.status === 429 || error.status === 503) await waitFor(error.retryAfter || RETRY, error.message, signal);
        else throw error;
      }
      showProgress(all.length);
    }
  } catch (error) {
    if (error instanceof Trouble) decision.trouble(error, classify);
    else if (error.name !== "AbortError") throw error;
  } finally {
    running = null;
    showRunning(false, rows === mine ? all.length : 0);
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
  byId("stop").hidden = byId("progress").hidden = !now;
  byId("progress").max = total;
  showProgress(total, now);
  if (now) return;
  readTexts();
  showRows();
}

function showProgress(total, now = true) {
  byId("progress").value = rows.length;
  byId("batch-status").textContent = now || rows.length < total ? `${count(rows.length)} of ${count(total)} classified` : "";
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

/** What a reader has to know about the label of a row. */
function noteOf({ confident, known, error }) {
  if (error) return error;
  return known ? (confident === false ? "not sure" : "") : "no known word";
}

function rowOf(row) {
  const { number, text, label, score, known, tokens, error } = row;
  const quantity = (value) => make("td", { class: "quantity" }, value);
  const note = make("span", { class: error ? "problem" : "small" }, noteOf(row));
  const answer = known ? [label, " ", note] : [note];
  return make("tr", {}, make("td", {}, count(number)), make("td", { class: "text" }, isolate(text)), make("td", {}, ...answer),
    quantity(error ? "" : percent(score)), quantity(error ? "" : count(tokens)));
}

function download() {
  const records = sorted().map((row) =>
    [row.text, row.number, row.label ?? "", row.score ?? "", row.tokens ?? "", noteOf(row)]);
  // Spreadsheets recognize UTF-8 by a byte order mark.
  const file = new Blob(["\ufeff", writeCsv([["text", "number", "label", "score", "tokens", "note"], ...records])], { type: "text/csv" });
  const link = make("a", { href: URL.createObjectURL(file), download: "predictions.csv" });
  link.click();
  URL.revokeObjectURL(link.href);
}
