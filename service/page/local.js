// "Run in this browser": loads the model and ONNX Runtime, and then answers texts without the service.

import { byId } from "./dom.js";
import { percent } from "./format.js";
import { download, read, Trouble } from "./service.js";

const RUNTIME = "ort-wasm-simd-threaded.wasm.gz";
const SAME = 1e-6; // the largest difference between a probability here and one of the service
const UNREADABLE = /[\0\p{Surrogate}]/u; // the runtime takes UTF-8 that ends at a zero character

let model = null; // the version that runs here, with its labels; null if the service answers
let session = null; // null until it is loaded
let loading = new AbortController();
let known = null; // the last answer of the service, with its text
let answer = () => {}; // answers the text on the page

/** The version that runs here, or null if the service answers. From the click on, no text goes to the service. */
export const localModel = () => model;

/** Answer the buttons. Calls `onChange()` when the text on the page needs an answer. */
export function startLocal(onChange) {
  answer = onChange;
  byId("local-again").addEventListener("click", load);
  byId("local-stop").addEventListener("click", () => { leave(); byId("local-start").focus(); });
}

/** Offer to run the version that gave an answer of the service to a text, if it can be downloaded. */
export function offerLocal(offered, text, prediction) {
  byId("local-offer").hidden = !offered.downloadable;
  byId("local-start").onclick = () => {
    model = offered;
    known = { text, prediction };
    load();
    byId("local-stop").focus();
  };
}

/** The prediction for a text, with how long it took in milliseconds. Raises `Trouble`. */
export async function predictHere(text) {
  if (UNREADABLE.test(text)) throw new Trouble("The runtime for browsers cannot read this text: it contains U+0000 or half of a surrogate pair.");
  try {
    const began = performance.now();
    const { label, probabilities } = await session.run(text);
    const milliseconds = performance.now() - began;
    const shares = Object.fromEntries(model.labels.map((each, index) => [each, probabilities[index]]));
    return { label, score: shares[label], probabilities: shares, milliseconds };
  } catch (error) {
    throw new Trouble(`The model cannot read this text here: ${error.message}`);
  }
}

/** Whether the model is loaded. */
export const isLoaded = () => session !== null;

/** Say how long an answer to a text took, or why there is none: the `message` of a `Trouble`. */
export function noteHere(text, { message = "", ...prediction }) {
  byId("local-trouble").textContent = message;
  byId("local-note").textContent = message ? "" : describe(text, prediction);
}

function describe(text, prediction) {
  const took = `Answered in ${prediction.milliseconds.toFixed(1)} ms.`;
  return text === known.text ? `${took} ${compare(prediction, known.prediction)}` : took;
}

function compare(here, there) {
  const same = here.label === there.label && model.labels.every((each) => Math.abs(here.probabilities[each] - there.probabilities[each]) <= SAME);
  return same ? "The service gave the same answer." : `The service answered ${there.label}, ${percent(there.score)}.`;
}

function leave() {
  loading.abort();
  session?.release();
  model = session = null;
  show("");
  answer();
}

async function load() {
  loading = new AbortController();
  const { signal } = loading;
  show("Loading \u2026", { busy: true });
  answer();
  try {
    const loaded = await open(model, signal);
    if (signal.aborted) return loaded.release();
    session = loaded;
    show("This model runs in this browser. What you type here is not sent. It gives every text a label, also if it knows none of the words.");
    answer();
  } catch (error) {
    if (signal.aborted) return;
    const trouble = error instanceof Trouble ? error.message : `The model cannot run in this browser: ${error.message ?? error}`;
    show("What you type here is not sent.", { trouble });
  }
}

/** Download a model and the runtime, and open them. Raises `Trouble`, or what the runtime or the browser raises. */
async function open({ name, version }, signal) {
  if (!("WebAssembly" in globalThis && "DecompressionStream" in globalThis)) throw new Trouble("This browser is too old to run the model.");
  const paths = [`page/runtime/${RUNTIME}`, `v1/models/${encodeURIComponent(name)}/versions/${version}/text.onnx`];
  const responses = await Promise.all(paths.map((path) => download(path, signal)));
  const sizes = responses.map((response) => Number(response.headers.get("content-length")));
  const [runtime, graph] = sizes.map((bytes) => (bytes ? ` (${(bytes / 1e6).toFixed(1)} MB)` : ""));
  show(`Loading ONNX Runtime${runtime} and the model${graph} \u2026`, { busy: true });
  const progress = byId("local-progress");
  progress.max = sizes[0] + sizes[1] || 1;
  const [compressed, content] = await Promise.all(responses.map((response) => read(response, (bytes) => { progress.value += bytes; })));
  const ort = await import("./runtime/ort.wasm.bundle.min.mjs");
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmBinary ??= await new Response(compressed.stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
  const opened = await ort.InferenceSession.create(new Uint8Array(await content.arrayBuffer()));
  const run = async (text) => {
    const { label, probabilities } = await opened.run({ text: new ort.Tensor("string", [text], [1]) });
    return { label: label.data[0], probabilities: probabilities.data };
  };
  await run(""); // the first run allocates memory
  return { run, release: () => opened.release() };
}

function show(said, { busy = false, trouble = "" } = {}) {
  document.body.classList.toggle("local", Boolean(model));
  byId("local").hidden = !model;
  byId("local-offer").hidden = Boolean(model);
  byId("local-said").textContent = said;
  byId("local-trouble").textContent = trouble;
  byId("local-note").textContent = "";
  byId("local-progress").hidden = !busy;
  byId("local-progress").value = 0;
  byId("local-again").hidden = !trouble;
}
