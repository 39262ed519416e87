// The competent version in Node: `http` and `onnxruntime-node`, with the graph and the tokenizer in MODEL_FOLDER.
// `node server.js PORT,PORT` serves it with a process on each port.
const { fork } = require('node:child_process')
const { readFileSync } = require('node:fs')
const { createServer } = require('node:http')
const { InferenceSession, Tensor } = require('onnxruntime-node')

const folder = process.env.MODEL_FOLDER
const spaces = /[!"#$%&()*+,\-./:;<=>?@[\\\]^_`{|}~\s]+/
const [ports] = process.argv.slice(2)

async function serve(port) {
  const session = await InferenceSession.create(`${folder}/model.onnx`, { intraOpNumThreads: 1 })
  const vocabulary = new Map(Object.entries(JSON.parse(readFileSync(`${folder}/tokenizer.json`)).model.vocab))

  async function predict(text) {
    const words = text.toLowerCase().split(spaces).filter(Boolean)
    const ids = [0, 0, 0, 1, ...words.map((word) => vocabulary.get(word) ?? 2)].slice(-400)
    const { probabilities } = await session.run({ tokens: new Tensor('int32', Int32Array.from(ids), [1, ids.length]) })
    const [positive] = probabilities.data
    return positive >= 0.5 ? { label: 'positive', score: positive } : { label: 'negative', score: 1 - positive }
  }

  createServer(async (request, response) => {
    const parts = await request.toArray()
    const answer = JSON.stringify(parts.length ? await predict(JSON.parse(Buffer.concat(parts)).text) : {})
    response.setHeader('Content-Type', 'application/json').end(answer)
  }).listen(port, '127.0.0.1')
}

if (ports.includes(',')) {
  for (const port of ports.split(',')) fork(__filename, [port])
} else {
  process.on('disconnect', process.exit)
  serve(Number(ports))
}
