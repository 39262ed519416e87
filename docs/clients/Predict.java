import io.grpc.ManagedChannel;
import io.grpc.ManagedChannelBuilder;
import java.util.concurrent.TimeUnit;
import sentiment.v1.SentimentGrpc;
import sentiment.v1.SentimentOuterClass.PredictRequest;
import sentiment.v1.SentimentOuterClass.Prediction;

class Predict {
  public static void main(String[] arguments) {
    ManagedChannel channel = ManagedChannelBuilder.forTarget("localhost:8001").usePlaintext().build();
    Prediction answer =
        SentimentGrpc.newBlockingStub(channel)
            .withDeadlineAfter(5, TimeUnit.SECONDS)
            .predict(PredictRequest.newBuilder().setText("A gripping, beautifully acted film.").build());
    System.out.println(answer.getLabel() + " " + answer.getScore() + " " + answer.getTokens()); // positive 0.94146514 6
    channel.shutdown();
  }
}
