// The page: sends the typed text to the service and shows the answers.

import { describeAgreement, showComparison, showComparisonTrouble } from "./comparison.js";
import { byId, make } from "./dom.js";
import { percent } from "./format.js";
import { showModels } from "./model.js";
import { chosen, chosenComparison, offerLabels, offerModels } from "./picker.js";
import { goToWord, show, start } from "./reading.js";
import { markWords, showExplanation, showFilters, showPrediction, walkWithKeys } from "./review.js";
import { SAMPLES } from "./samples.js";
import { get, Newest, post, rememberKey } from "./service.js";

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
let offered = null; // the samples on the page

function ask(milliseconds = TYPING) {
  const request = { text: byId("text").value, ...chosen() };
  byId("verdict").classList.add("waiting");
  byId("comparison").classList.add("waiting");
  byId("reads").ariaBusy = "true"; // until all intermediate values of this text are shown
  inspecting.stop();
  comparing.stop();
  explaining.run(milliseconds, (signal) => explain(request, signal), ({ prediction, explanation }) => {
    hideTrouble();
    latest = { request, prediction, explanation };
    filter = undefined;
    const model = modelOf(prediction);
    const { tokenizer } = model;
    showPrediction(prediction, tokenizer);
    offerLabels(explanation ? model : null);
    offerSamples(model);
    announce(describePrediction(prediction));
    compare();
    byId("why").hidden = !explanation;
    byId("steps").hidden = !explanation;
    byId("reads-note").hidden = Boolean(explanation);
    byId("reads").ariaBusy = String(Boolean(explanation));
    if (!explanation) return;
    const { text } = request;
    const target = explained(explanation);
    showExplanation(text, explanation, target, tokenizer, (index) => { goToWord(index); scrollToSlide(); });
    showFilters(text, explanation, (choice) => { watch(choice); scrollToSlide(); });
    inspectSoon(SETTLED);
  }, (trouble) => showTrouble(trouble, () => ask(0)));
}

function scrollToSlide() {
  byId("step-slide").scrollIntoView();
  byId("play").focus({ preventScroll: true });
}

/** The explanation, or only the prediction if the model has no explanation. */
async function explain(request, signal) {
  if (!models) await listModels(signal);
  const answer = await answerTo(request, signal);
  if (!loaded(answer.prediction.model)) await listModels(signal);
  return answer;
}

async function listModels(signal) {
  showModels(models = (await get("v1/models", signal)).models);
  offerModels(models, () => ask(0), compare);
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

async function predict({ label, ...request }, signal) {
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
    announce(`${describePrediction(first.prediction)}. ${describeAgreement(first.prediction, second.prediction)}`);
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
  return modelOf(prediction).activation === "softmax" ? label : Object.keys(prediction.probabilities)[1];
}

/** Request all intermediate values if the section is near the viewport and shows those of an older text. */
function inspectSoon(milliseconds = 0) {
  if (latest?.explanation && nearReading && inspected?.request !== latest.request) inspect(milliseconds);
}

/** Request all intermediate values; the feature maps, about a megabyte, only once for a text. */
function inspect(milliseconds = 0) {
  const { request } = latest;
  const banks = inspected?.request === request ? inspected.banks : null;
  inspecting.run(milliseconds, (signal) => post("v1/inspect", { ...request, filter, feature_map: !banks }, signal), (inspection) => {
    inspected = { ...inspection, banks: banks ?? inspection.banks, request };
    const { explanation } = inspection;
    show(inspected, explained(explanation), modelOf(explanation.prediction).tokenizer);
    byId("reads").ariaBusy = "false";
  }, (trouble) => showTrouble(trouble, () => { hideTrouble(); inspect(); }));
}

function watch({ width, index }) {
  filter = { width, index };
  inspect();
}

const describePrediction = ({ label, score }) => `${label}, ${percent(score)}`;

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

byId("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  rememberKey(byId("key").value.trim());
  byId("key").value = "";
  ask(0);
});

byId("text").addEventListener("input", () => ask());

/** Offer the texts of the model's manifest, or some reviews if it has none. */
function offerSamples(model) {
  const samples = model?.samples.length ? model.samples : SAMPLES;
  if (samples === offered) return;
  offered = samples;
  byId("samples").replaceChildren(...samples.map(({ name, label, text }) => {
    const button = make("button", { type: "button", title: text.slice(0, 100) }, name ?? label);
    button.addEventListener("click", () => { byId("text").value = text; ask(0); });
    return button;
  }));
}

new IntersectionObserver(([{ isIntersecting }]) => {
  nearReading = isIntersecting;
  inspectSoon();
}, { rootMargin: "400px" }).observe(byId("reads"));

const current = new IntersectionObserver((entries) => {
  const section = entries.findLast(({ isIntersecting }) => isIntersecting)?.target;
  if (!section) return;
  for (const link of document.querySelectorAll("nav a")) link.ariaCurrent = link.hash === `#${section.id}` ? "true" : null;
}, { rootMargin: "-30% 0px -65% 0px" });
for (const section of document.querySelectorAll("main > section")) current.observe(section);

start(watch, markWords);
walkWithKeys();
offerSamples(null);
if (!byId("text").value) byId("text").value = SAMPLES[0].text;
ask(0);
