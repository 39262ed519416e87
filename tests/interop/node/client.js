// A gRPC client on @grpc/grpc-js that makes the calls it reads from stdin. ../client.py has the format of its lines.
"use strict";

const fs = require("node:fs");
const path = require("node:path");
const readline = require("node:readline");

const grpc = require("@grpc/grpc-js");
const protoLoader = require("@grpc/proto-loader");

const [address, , authority] = process.argv.slice(2);
const security = authority ? grpc.credentials.createSsl(fs.readFileSync(authority)) : grpc.credentials.createInsecure();

// As protobuf's JSON has it.
const JSON_FORM = { keepCase: true, longs: String, enums: String, bytes: String };

// Not from the descriptors, whose maps the loader takes for lists.
const PROTOS = path.join(__dirname, "../../../sentiment_conv1d/protos");
const OLDER = path.join(__dirname, "../protos");
const definition = protoLoader.loadSync(
  [
    "sentiment.proto",
    "inference.proto",
    "grpc/health/v1/health.proto",
    "grpc/reflection/v1/reflection.proto",
    "grpc/reflection/v1alpha/reflection.proto",
  ],
  { ...JSON_FORM, includeDirs: [PROTOS, OLDER] },
);

// Compression is an option of a channel here.
const plain = connect({});
const compressing = connect({ "grpc.default_compression_algorithm": grpc.compressionAlgorithms.gzip });

const calls = new Map();

function connect(options) {
  return new grpc.Client(address, security, { "grpc.enable_http_proxy": 0, ...options });
}

function print(line) {
  process.stdout.write(JSON.stringify(line) + "\n");
}

function start(command) {
  const [service, name] = command.method.split("/");
  const method = definition[service][name];
  const client = command.gzip ? compressing : plain;
  const metadata = new grpc.Metadata();
  for (const [key, value] of Object.entries(command.metadata ?? {})) {
    metadata.set(key, key.endsWith("-bin") ? Buffer.from(value, "base64") : value);
  }
  const options = command.timeout_ms ? { deadline: Date.now() + command.timeout_ms } : {};
  const [request] = command.requests;
  const common = [command.path ?? method.path, method.requestSerialize, method.responseDeserialize];

  const answered = (answer) => print({ id: command.id, answer });
  let call;
  if (method.requestStream) {
    call = client.makeBidiStreamRequest(...common, metadata, options);
    command.requests.forEach((each) => call.write(each));
    if (!command.keep_open) call.end();
  } else if (method.responseStream) {
    call = client.makeServerStreamRequest(...common, request, metadata, options);
  } else {
    call = client.makeUnaryRequest(...common, request, metadata, options, (error, answer) => error || answered(answer));
  }
  if (method.responseStream) {
    call.on("data", answered);
    call.on("error", () => {}); // the status reports the error
  }
  call.on("status", (status) => {
    calls.delete(command.id);
    // After the answers that have arrived but that the stream has not emitted yet.
    setImmediate(() => print(end(command.id, status)));
  });
  calls.set(command.id, call);
}

function end(id, { code, details, metadata }) {
  const trailers = {};
  for (const [key, value] of Object.entries(metadata.getMap())) {
    trailers[key] = key.endsWith("-bin") ? value.toString("base64") : value;
  }
  return { id, code, message: details, trailers };
}

readline
  .createInterface({ input: process.stdin })
  .on("line", (line) => {
    const command = JSON.parse(line);
    if (command.cancel) calls.get(command.id)?.cancel();
    else start(command);
  })
  .on("close", () => process.exit());
