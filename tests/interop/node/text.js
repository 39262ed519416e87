// Answers texts with a text.onnx: node text.js RUNTIME FILE. Every line of stdin is a JSON list of texts, and every line
// of stdout an object with their labels and, row by row, their probabilities.
"use strict";

const fs = require("node:fs");
const readline = require("node:readline");

const [runtime, file] = process.argv.slice(2);
const ort = require(runtime);

async function main() {
  const session = await ort.InferenceSession.create(fs.readFileSync(file));
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const texts = JSON.parse(line);
    const { label, probabilities } = await session.run({ text: new ort.Tensor("string", texts, [texts.length]) });
    console.log(JSON.stringify({ label: label.data, probabilities: Array.from(probabilities.data) }));
  }
}

main();
