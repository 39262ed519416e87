// The page: sends the typed text to the service and shows the answers.

import { balanceOf, balanceOfContrast, showOutcome } from "./balance.js";
import { followModel, showRows, startBatch } from "./batch.js";
import { describeAgreement, showComparison, showComparisonTrouble } from "./comparison.js";
import { byId, make } from "./dom.js";
import { percent } from "./format.js";
import { openModel, showModels } from "./model.js";
import { choose, choosesContrast, chosen, chosenComparison, chosenReading, chosenVersion, nameOf, offerLabels, offerModels, readAnswering, whyReading } from "./picker.js";
import { goToWord, show, start } from "./reading.js";
import { keepText, newestText, startRecent } from "./recent.js";
import { describePrediction, knowsAny, showExplanation, showFilters, showNoPrediction, showPrediction, showSentences } from "./review.js";
import { get, hasKey, Newest, post, rememberKey } from "./service.js";
import { asCurl, asPython, copy, linkTo, sharedIn } from "./share.js";
import { knownOf } from "./shipped.js";
import { chosenThreshold, decide, hasOneOutput, offerThreshold, startThreshold, thresholdMoved } from "./threshold.js";
import { goTo, showView, walkTabs } from "./views.js";
import { startWords } from "./words.js";

const TYPING = 140; // milliseconds after the last key press until the page requests an explanation
const SETTLED = 450; // until it requests all intermediate values
const SPOKEN = 1000; // until a screen reader announces the label and the comparison

const explaining = new Newest();
const comparing = new Newest();
const inspecting = new Newest();

let models = null; // the loaded models
let latest = null; // the request that the page shows, with its answer
let filter; // the filter that is chosen for the latest request; undefined for the strongest
let inspected = null; // the inspection that is shown, with its request
let nearReading = false;
let spoken = 0; // the timers of an announcement and of another try
let waiting = 0;
let offered = []; // the samples on the page
let unkept = null; // a text that is not kept: a sample that the page chose, or what the reader forgot
let shared = null; // what a link contains, until the models are known
let awaited = null; // the word that a filter shall read as soon as all intermediate values are there

/** The parts of the page that show the answer to a text. */
const ANSWERS = ["counts", "verdict", "comparison", "why", "details"];

function ask(milliseconds = TYPING) {
  const request = { text: byId("text").value, ...chosen() };
  for (const id of ANSWERS) byId(id).classList.add("waiting"); // they show the answer to another text
  byId("reads").ariaBusy = "true"; // until all intermediate values of this text are shown
  followModel();
  inspecting.stop();
  comparing.stop();
  awaited = null;
  explaining.run(milliseconds, (signal) => explain(request, signal), ({ prediction, explanation }) => {
    hideTrouble();
    latest = { request, prediction, explanation };
    for (const id of ANSWERS) byId(id).classList.remove("waiting");
    byId("try").classList.toggle("blank", !request.text.trim());
    filter = undefined;
    const model = modelOf(prediction);
    const { tokenizer } = model;
    offerThreshold(model);
    offerLabels(explanation ? model : null, explanation?.contrast);
    showVerdict();
    openModel(model);
    compare();
    byId("why").hidden = byId("details").hidden = !explanation;
    offerReading();
    if (explanation) {
      const { text } = request;
      const target = explained(explanation);
      showExplanation(text, explanation, choosesContrast() ? balanceOfContrast(explanation) : balanceOf(explanation, target), tokenizer, watchWord);
      showOutcome(explanation, target, model.activation === "softmax");
      showFilters(text, explanation, (choice) => { readAnswer(); watch(choice); goToSlide(); });
    }
    inspectSoon(SETTLED);
    offerSamples(model);
  }, (trouble) => { forget(); showTrouble(trouble, () => ask(0)); });
}

/** Show no answer, because there is none for the text. */
function forget() {
  latest = inspected = null;
  showNoPrediction();
  for (const id of ["why", "details", "comparison", "steps", "threshold"]) byId(id).hidden = true;
  for (const id of ["reads-text", "reads-label", "reads-why", "announcement"]) byId(id).textContent = "";
  clearTimeout(spoken);
}

function showVerdict() {
  const { request, prediction, explanation } = latest;
  const model = modelOf(prediction);
  showPrediction(prediction, model, explanation);
  if (explanation) showSentences(explanation, explained(explanation), model);
  const said = describe(latest);
  byId("reads-text").textContent = request.text;
  showReadingLabel();
  announce(said);
}

/** Whether "How it works" shows another model than the one that answers. */
function readsOther() {
  const model = chosenReading();
  return Boolean(model) && model !== modelOf(latest.prediction);
}

/** Whether the intermediate values of the chosen model for the latest text are shown. */
const isInspected = () => inspected?.request === latest.request && inspected.reading === byId("reads-choice").value;

/** Show the steps if the model that "How it works" shows has them. */
function offerReading() {
  const readable = readsOther() || Boolean(latest.explanation);
  byId("steps").hidden = !readable;
  byId("reads-note").hidden = readable;
  byId("reads").ariaBusy = String(readable);
  showReadingLabel();
}

/** Show what the model of "How it works" decides about the text. */
function showReadingLabel() {
  const { explanation } = inspected ?? {};
  const other = () => (isInspected() ? describe({ prediction: explanation.prediction, explanation }) : "");
  byId("reads-label").textContent = readsOther() ? other() : describe(latest);
  byId("reads-why").textContent = readsOther() ? [whyReading(chosenReading(), modelOf(latest.prediction)), isInspected() ? disagreement(explanation.prediction) : ""].join(" ") : "";
}

/** Say what both models decide about the text, if their labels differ. */
function disagreement(prediction) {
  const [one, other] = [prediction, latest.prediction].map((each) => ({ each, ...decide(each, modelOf(each)) }));
  if (one.label === other.label) return "";
  return `They differ: ${nameOf(one.each.model)} says ${one.label}, ${percent(one.score)}, and ${nameOf(other.each.model)} says ${other.label}, ${percent(other.score)}.`;
}

/** Show the model that answers under "How it works", whose words and filters are shown under "Try it". */
function readAnswer() {
  if (!readsOther()) return;
  readAnswering();
  filter = undefined;
  offerReading();
}

function goToSlide() {
  goTo("step-slide");
  byId("play").focus({ preventScroll: true });
}

/** Go to the filter, and place it on a word of the text. */
function watchWord(index) {
  readAnswer();
  awaited = index;
  goToSlide();
  if (isInspected()) placeFilter();
}

function placeFilter() {
  if (awaited === null) return;
  goToWord(awaited);
  awaited = null;
  byId("step-slide").scrollIntoView();
}

/** The explanation, or only the prediction if the model has no explanation. */
async function explain(request, signal) {
  if (request.text !== unkept) keepText(request.text);
  if (!models) await listModels(signal);
  const answer = await answerTo({ ...request, sentences: true }, signal).catch((error) => {
    if (!error.message.includes(" sentences: ")) throw error;
    return answerTo(request, signal); // the text has more sentences than a request can
  });
  if (!loaded(answer.prediction.model)) await listModels(signal);
  return answer;
}

async function listModels(signal) {
  showModels(models = (await get("v1/models", signal)).models, tryWith);
  offerModels(models, {
    onChoice: () => { readAnswering(); changed(0); },
    onCompare: compare,
    onRead: () => { filter = undefined; offerReading(); inspectSoon(); },
  });
}

async function answerTo(request, signal) {
  const asked = request.model ? [loaded({ name: request.model, version: request.version })] : models;
  if (asked.some((model) => model?.explainable)) {
    try {
      const explanation = await post("v1/explain", request, signal);
      return { prediction: explanation.prediction, explanation };
    } catch (error) {
      if (error.code !== "not_explainable") throw error;
    }
  }
  return predict(request, signal);
}

async function predict({ label, sentences, ...request }, signal) {
  return { prediction: await post("v1/predict", request, signal), explanation: null };
}

/** Request the answer of the model to compare with, if one is chosen, and show it beside the latest answer. */
function compare() {
  const other = chosenComparison();
  comparing.stop();
  byId("comparison").hidden = !other;
  if (!other || !latest) return;
  const first = latest;
  const target = first.explanation && explained(first.explanation);
  const request = { text: first.request.text, model: other.name, version: other.version, ...(other.labels.includes(target) ? { label: target } : {}) };
  byId("comparison").classList.add("waiting");
  comparing.run(0, (signal) => (first.explanation ? answerTo(request, signal) : predict(request, signal)), (second) => {
    showComparison(first, second, sameLogit(first, second) ? target : null);
    announce(`${describe(first)}. ${describeAgreement(first.prediction, second.prediction)}`);
  }, (trouble) => showComparisonTrouble(trouble, compare));
}

/** Whether both answers explain the logit of one label. A sigmoid has log-odds, so its logit is not that of a softmax. */
function sameLogit(...answers) {
  const [first, second] = answers.map(({ prediction, explanation }) => explanation && `${modelOf(prediction).activation} ${explained(explanation)}`);
  return first !== null && first === second;
}

/** A version of a model in the list of loaded ones. */
function loaded({ name, version }) {
  return models.find((each) => each.name === name && each.version === version);
}

/** The model that made a prediction, or its listed version if the version has just been replaced. */
function modelOf({ model }) {
  return loaded(model) ?? models.find((each) => each.name === model.name);
}

/** The label whose logit is explained. */
function explained({ label, prediction }) {
  const model = modelOf(prediction);
  return hasOneOutput(model) ? model.labels[1] : label;
}

/** Request all intermediate values if the section is near the viewport and shows those of an older text. */
function inspectSoon(milliseconds = 0) {
  if (latest && !byId("steps").hidden && nearReading && !isInspected()) inspect(milliseconds);
}

/** Request all intermediate values; the feature maps, about a megabyte, only once for a text. */
function inspect(milliseconds = 0) {
  const { request } = latest;
  const reading = byId("reads-choice").value;
  const banks = isInspected() ? inspected.banks : null;
  const body = { ...request, ...(readsOther() ? otherThan(request) : {}), filter, feature_map: !banks };
  inspecting.run(milliseconds, (signal) => post("v1/inspect", body, signal), (inspection) => {
    inspected = { ...inspection, banks: banks ?? inspection.banks, request, reading };
    const { explanation } = inspection;
    show(inspected, explained(explanation), modelOf(explanation.prediction).tokenizer);
    byId("reads").ariaBusy = "false";
    showReadingLabel();
    placeFilter();
  }, (trouble) => showTrouble(trouble, () => { hideTrouble(); inspect(); }));
}

/** What names the model that "How it works" shows, with the label of a request if the model has it. */
function otherThan({ label }) {
  const { name, version, labels } = chosenReading();
  return { model: name, version, label: labels.includes(label) ? label : undefined };
}

function watch({ width, index }) {
  filter = { width, index };
  inspect();
}

const describe = ({ prediction, explanation }) => describePrediction(prediction, modelOf(prediction), explanation);

function announce(message) {
  clearTimeout(spoken);
  spoken = setTimeout(() => { byId("announcement").textContent = message; }, SPOKEN);
}

function showTrouble(trouble, again) {
  clearTimeout(waiting);
  byId("trouble").hidden = false;
  byId("trouble-text").textContent = trouble.message + (trouble.retryAfter ? ` Trying again in ${trouble.retryAfter} s.` : "");
  byId("key-form").hidden = trouble.status !== 401;
  byId("retry").hidden = trouble.status === 401 || trouble.status === 413;
  byId("retry").onclick = again;
  if (trouble.status === 401) byId("key").focus();
  if (trouble.retryAfter) waiting = setTimeout(again, 1000 * trouble.retryAfter);
}

function hideTrouble() {
  clearTimeout(waiting);
  byId("trouble").hidden = true;
}

/** Learn which model answers, and begin with the text of a link, with the last text, or with a sample of this model. */
function begin() {
  explaining.run(0, async (signal) => {
    await listModels(signal);
    return shared ? null : post("v1/predict", { text: "", ...chosenVersion() }, signal);
  }, (prediction) => {
    if (shared) return takeShared();
    offerSamples(modelOf(prediction));
    if (!byId("text").value) showSample();
    return ask(0);
  }, (trouble) => showTrouble(trouble, begin));
}

/** Show the view that the address names, or the text of a link. */
function followAddress() {
  shared = sharedIn(location.hash);
  showView(location.hash.slice(1));
  if (shared && models) takeShared();
}

function takeShared() {
  const { text, model, version } = shared;
  shared = null;
  tryWith({ name: model, version }, text);
}

/** Classify a text with a model, or with the default one if the model is not loaded. */
function tryWith(model, text) {
  byId("text").value = text;
  unkept = null;
  const found = !model.name || choose(model);
  if (model.name && found) readAnswering();
  byId("shared-note").hidden = found;
  byId("shared-note").textContent = found ? "" : `The link names ${model.name}, version ${model.version}, which is not loaded here. The default model answers.`;
  if (byId("try").hidden) goTo("try");
  ask(0);
}

/** Offer the texts of the model's manifest, or those known for it. A sample of another model gives way to them. */
function offerSamples(model) {
  const samples = model.samples.length ? model.samples : knownOf(model)?.samples ?? [];
  if (samples === offered) return;
  const field = byId("text");
  const stale = offered.some(({ text }) => text === field.value);
  offered = samples;
  byId("samples").replaceChildren(...samples.map(({ name, label, text }) => {
    const button = make("button", { type: "button", title: text.slice(0, 100) }, name ?? label);
    button.addEventListener("click", () => read(text));
    return button;
  }));
  if (!stale || samples.some(({ text }) => text === field.value)) return;
  showSample();
  ask(0);
}

/** Show the first sample in place of a text of the reader. */
function showSample() {
  byId("text").value = unkept = offered[0]?.text ?? "";
}

/** Show a text that the reader chose. */
function read(text) {
  byId("text").value = text;
  unkept = null;
  changed(0);
}

/** Ask for the text that the reader changed. The address does not claim the text of a link any more. */
function changed(milliseconds) {
  if (sharedIn(location.hash)) history.replaceState(null, "", "#try");
  byId("shared-note").hidden = true;
  ask(milliseconds);
}

byId("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  rememberKey(byId("key").value.trim());
  byId("key").value = "";
  if (latest) ask(0); else begin();
});

byId("text").addEventListener("input", () => {
  unkept = null;
  changed();
});

new IntersectionObserver(([{ isIntersecting }]) => {
  nearReading = isIntersecting;
  inspectSoon();
}, { rootMargin: "400px" }).observe(byId("reads"));

const request = () => ({ text: byId("text").value, ...chosenVersion(), ...chosenThreshold() });
byId("copy-curl").addEventListener("click", () => copy(asCurl(request(), hasKey()), "The command is copied."));
byId("copy-python").addEventListener("click", () => copy(asPython(request(), hasKey()), "The program is copied."));
byId("copy-link").addEventListener("click", () => {
  if (latest) copy(linkTo(byId("text").value, latest.prediction.model), "The link is copied. It contains the text, after a # sign: browsers do not send that part to a server.");
});

start(watch);
startWords();
byId("sentences").open = !matchMedia("(max-width: 46rem)").matches; // a phone shows the words and the sum first
startThreshold(() => { showVerdict(); showRows(); });
startBatch({
  request: chosenVersion,
  read: (prediction) => ({ ...decide(prediction, modelOf(prediction)), known: knowsAny(prediction, modelOf(prediction).tokenizer) }),
  note: () => (thresholdMoved() ? "The labels follow the threshold that is set under Try it." : ""),
  trouble: (trouble, again) => showTrouble(trouble, () => { hideTrouble(); again(); }),
  rows: {
    explain: (text, { name, version }) => post("v1/explain", { text, model: name, version }),
    target: explained,
    onTry: tryWith,
  },
});
walkTabs();
addEventListener("hashchange", followAddress);
startRecent(read, () => {
  unkept = byId("text").value;
  byId("text").focus();
});
followAddress();
if (!shared) byId("text").value = newestText();
begin();
