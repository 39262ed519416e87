import com.google.gson.Gson;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import com.google.protobuf.Descriptors.FileDescriptor;
import com.google.protobuf.Descriptors.MethodDescriptor;
import com.google.protobuf.DescriptorProtos.FileDescriptorProto;
import com.google.protobuf.DescriptorProtos.FileDescriptorSet;
import com.google.protobuf.DynamicMessage;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.util.JsonFormat;
import io.grpc.CallOptions;
import io.grpc.ClientCall;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor.MethodType;
import io.grpc.Status;
import io.grpc.netty.NettyChannelBuilder;
import io.grpc.protobuf.ProtoUtils;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Base64;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;

/** A gRPC client on grpc-java that makes the calls it reads from stdin. ../client.py has the format of its lines. */
public final class Client {
  private static final Metadata.Key<String> ENCODING =
      Metadata.Key.of("grpc-encoding", Metadata.ASCII_STRING_MARSHALLER);

  private final PrintStream output = new PrintStream(System.out, true, StandardCharsets.UTF_8);
  private final Map<String, MethodDescriptor> methods = new HashMap<>();
  private final Map<Integer, ClientCall<DynamicMessage, DynamicMessage>> calls = new ConcurrentHashMap<>();
  private final ManagedChannel channel;

  private Client(String address, Path descriptors) throws Exception {
    channel = NettyChannelBuilder.forTarget(address).usePlaintext().proxyDetector(target -> null).build();
    Map<String, FileDescriptor> files = new HashMap<>();
    // Every file comes after the files that it imports.
    for (FileDescriptorProto each : FileDescriptorSet.parseFrom(Files.readAllBytes(descriptors)).getFileList()) {
      FileDescriptor[] imported = each.getDependencyList().stream().map(files::get).toArray(FileDescriptor[]::new);
      FileDescriptor file = FileDescriptor.buildFrom(each, imported);
      files.put(each.getName(), file);
      file.getServices().stream()
          .flatMap(service -> service.getMethods().stream())
          .forEach(method -> methods.put(method.getService().getFullName() + "/" + method.getName(), method));
    }
  }

  public static void main(String[] arguments) throws Exception {
    new Client(arguments[0], Path.of(arguments[1])).run();
  }

  private void run() throws Exception {
    BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    for (String line = lines.readLine(); line != null; line = lines.readLine()) {
      JsonObject command = JsonParser.parseString(line).getAsJsonObject();
      if (command.has("cancel")) {
        ClientCall<?, ?> call = calls.get(command.get("id").getAsInt());
        if (call != null) {
          call.cancel("asked for", null);
        }
      } else {
        start(command);
      }
    }
    channel.shutdownNow();
  }

  private void start(JsonObject command) throws InvalidProtocolBufferException {
    int id = command.get("id").getAsInt();
    String name = command.get("method").getAsString();
    MethodDescriptor method = methods.get(name);
    String path = command.has("path") ? command.get("path").getAsString().substring(1) : name;
    CallOptions options = CallOptions.DEFAULT;
    if (command.has("timeout_ms")) {
      options = options.withDeadlineAfter(command.get("timeout_ms").getAsLong(), TimeUnit.MILLISECONDS);
    }
    if (command.has("gzip")) {
      options = options.withCompression("gzip");
    }
    ClientCall<DynamicMessage, DynamicMessage> call = channel.newCall(callable(method, path), options);
    calls.put(id, call);
    call.start(new Printer(id, call), metadata(command));
    call.request(Integer.MAX_VALUE);
    if (command.has("gzip")) {
      call.setMessageCompression(true);
    }
    for (JsonElement each : command.getAsJsonArray("requests")) {
      DynamicMessage.Builder request = DynamicMessage.newBuilder(method.getInputType());
      JsonFormat.parser().merge(each.toString(), request);
      call.sendMessage(request.build());
    }
    if (!command.has("keep_open")) {
      call.halfClose();
    }
  }

  private static io.grpc.MethodDescriptor<DynamicMessage, DynamicMessage> callable(
      MethodDescriptor method, String path) {
    MethodType type =
        method.isClientStreaming()
            ? MethodType.BIDI_STREAMING
            : method.isServerStreaming() ? MethodType.SERVER_STREAMING : MethodType.UNARY;
    return io.grpc.MethodDescriptor.<DynamicMessage, DynamicMessage>newBuilder()
        .setType(type)
        .setFullMethodName(path)
        .setRequestMarshaller(ProtoUtils.marshaller(DynamicMessage.getDefaultInstance(method.getInputType())))
        .setResponseMarshaller(ProtoUtils.marshaller(DynamicMessage.getDefaultInstance(method.getOutputType())))
        .build();
  }

  private static Metadata metadata(JsonObject command) {
    Metadata metadata = new Metadata();
    if (command.has("metadata")) {
      command.getAsJsonObject("metadata").entrySet().forEach(each -> put(metadata, each.getKey(), each.getValue()));
    }
    return metadata;
  }

  private static void put(Metadata metadata, String name, JsonElement value) {
    if (name.endsWith(Metadata.BINARY_HEADER_SUFFIX)) {
      byte[] content = Base64.getDecoder().decode(value.getAsString());
      metadata.put(Metadata.Key.of(name, Metadata.BINARY_BYTE_MARSHALLER), content);
    } else {
      metadata.put(Metadata.Key.of(name, Metadata.ASCII_STRING_MARSHALLER), value.getAsString());
    }
  }

  private static String get(Metadata metadata, String name) {
    if (name.endsWith(Metadata.BINARY_HEADER_SUFFIX)) {
      byte[] content = metadata.get(Metadata.Key.of(name, Metadata.BINARY_BYTE_MARSHALLER));
      return Base64.getEncoder().encodeToString(content);
    }
    return metadata.get(Metadata.Key.of(name, Metadata.ASCII_STRING_MARSHALLER));
  }

  /** Prints the answers and the end of a call. */
  private final class Printer extends ClientCall.Listener<DynamicMessage> {
    private final JsonFormat.Printer json =
        JsonFormat.printer().preservingProtoFieldNames().omittingInsignificantWhitespace();
    private final int id;
    private final ClientCall<?, ?> call;
    private String encoding = "identity";

    Printer(int id, ClientCall<?, ?> call) {
      this.id = id;
      this.call = call;
    }

    @Override
    public void onHeaders(Metadata headers) {
      if (headers.containsKey(ENCODING)) {
        encoding = headers.get(ENCODING);
      }
    }

    @Override
    public void onMessage(DynamicMessage message) {
      try {
        output.println("{\"id\":" + id + ",\"answer\":" + json.print(message) + "}");
      } catch (InvalidProtocolBufferException error) {
        call.cancel("not printable", error);
      }
    }

    @Override
    public void onClose(Status status, Metadata trailers) {
      JsonObject end = new JsonObject();
      end.addProperty("id", id);
      end.addProperty("code", status.getCode().value());
      end.addProperty("message", status.getDescription());
      end.addProperty("encoding", encoding);
      JsonObject fields = new JsonObject();
      trailers.keys().forEach(each -> fields.addProperty(each, get(trailers, each)));
      end.add("trailers", fields);
      output.println(new Gson().toJson(end));
      calls.remove(id);
    }
  }
}
