// The application in Node: `http` and `onnxruntime-node`, with the graph and the tokenizer of the folder ARTIFACT.
// `node server.js ARTIFACT PORT,PORT` serves it with a process on each port.
const { fork } = require('node:child_process')
const { readFileSync } = require('node:fs')
const { createServer } = require('node:http')
const { InferenceSession, Tensor } = require('onnxruntime-node')

const words = /[^!"#$%&()*+,\-./:;<=>?@[\\\]^_`{|}~\s]+/g
const [artifact, ports] = process.argv.slice(2)

async function serve(port) {
  const session = await InferenceSession.create(`${artifact}/model.onnx`, { intraOpNumThreads: 1 })
  const vocabulary = new Map(Object.entries(JSON.parse(readFileSync(`${artifact}/tokenizer.json`)).model.vocab))

  // The last 400 ids of the text, after three pad ids and the start id.
  function encode(text) {
    const found = (text.toLowerCase().match(words) ?? []).slice(-400)
    const front = [0, 0, 0, 1].slice(Math.max(0, found.length - 396))
    const ids = new Int32Array(front.length + found.length)
    ids.set(front)
    for (let index = 0; index < found.length; index++) ids[front.length + index] = vocabulary.get(found[index]) ?? 2
    return ids
  }

  async function predict(text) {
    const ids = encode(text)
    const { probabilities } = await session.run({ tokens: new Tensor('int32', ids, [1, ids.length]) })
    const [positive] = probabilities.data
    return positive >= 0.5 ? { label: 'positive', score: positive } : { label: 'negative', score: 1 - positive }
  }

  createServer((request, response) => {
    const parts = []
    request.on('data', (part) => parts.push(part))
    request.on('end', async () => {
      const answer = JSON.stringify(parts.length ? await predict(JSON.parse(Buffer.concat(parts)).text) : {})
      response.writeHead(200, { 'Content-Type': 'application/json', 'Content-Length': answer.length }).end(answer)
    })
  }).listen(port, '127.0.0.1')
}

if (ports.includes(',')) {
  for (const port of ports.split(',')) fork(__filename, [artifact, port])
} else {
  process.on('disconnect', process.exit)
  serve(Number(ports))
}
