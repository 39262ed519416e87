const grpc = require("@grpc/grpc-js");
const protoLoader = require("@grpc/proto-loader");

const protos = protoLoader.loadSync("sentiment_conv1d/protos/sentiment.proto", { keepCase: true });
const { Sentiment } = grpc.loadPackageDefinition(protos).sentiment.v1;

const client = new Sentiment("localhost:8001", grpc.credentials.createInsecure());
const request = { text: "A gripping, beautifully acted film." };
client.Predict(request, { deadline: Date.now() + 5000 }, (error, answer) => {
  if (error) throw error;
  console.log(answer.label, answer.score, answer.tokens);  // positive 0.9414651393890381 6
  client.close();
});
