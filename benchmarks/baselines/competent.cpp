// The application in C++: Drogon, simdjson and ONNX Runtime, with the graph and the tokenizer of the folder ARTIFACT.
// `competent ARTIFACT PORT,PORT` serves it on each port, with as many threads.
#include <algorithm>
#include <array>
#include <cstdio>
#include <sstream>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include <drogon/drogon.h>
#include <onnxruntime_cxx_api.h>
#include <simdjson.h>

namespace {

constexpr size_t max_tokens = 400;
constexpr std::string_view separators = "!\"#$%&()*+,-./:;<=>?@[\\]^_`{|}~ \t\n\r\v\f";

// The lower-case form of every byte, and a space for each separator.
constexpr std::array<char, 256> lowered = [] {
  std::array<char, 256> table{};
  for (size_t byte = 0; byte < table.size(); ++byte)
    table[byte] = static_cast<char>(byte >= 'A' && byte <= 'Z' ? byte + 'a' - 'A' : byte);
  for (const char separator : separators) table[static_cast<unsigned char>(separator)] = ' ';
  return table;
}();

class Tokenizer {
 public:
  explicit Tokenizer(const std::string& file) {
    simdjson::dom::parser parser;
    const simdjson::dom::object vocabulary = parser.load(file)["model"]["vocab"];
    words_.reserve(vocabulary.size());
    for (const auto [word, id] : vocabulary) {
      words_.emplace_back(word);
      ids_.emplace(words_.back(), static_cast<int32_t>(id.get_int64()));
    }
  }

  std::vector<int32_t> encode(std::string_view text) const {
    std::string spaced(text.size(), ' ');
    std::transform(text.begin(), text.end(), spaced.begin(), [](unsigned char byte) { return lowered[byte]; });
    std::vector<int32_t> ids = {0, 0, 0, 1};
    const std::string_view words = spaced;
    for (size_t start = 0, end; (start = words.find_first_not_of(' ', start)) != words.npos; start = end) {
      end = std::min(words.find(' ', start), words.size());
      const auto found = ids_.find(words.substr(start, end - start));
      ids.push_back(found == ids_.end() ? 2 : found->second);
    }
    if (ids.size() > max_tokens) ids.erase(ids.begin(), ids.end() - max_tokens);
    return ids;
  }

 private:
  std::vector<std::string> words_;
  std::unordered_map<std::string_view, int32_t> ids_;
};

class Classifier {
 public:
  explicit Classifier(const std::string& artifact)
      : tokenizer_(artifact + "/tokenizer.json"),
        session_(environment_, (artifact + "/model.onnx").c_str(), options()) {}

  float predict(std::string_view text) {
    std::vector<int32_t> ids = tokenizer_.encode(text);
    const int64_t shape[] = {1, static_cast<int64_t>(ids.size())};
    const char *inputs[] = {"tokens"}, *outputs[] = {"probabilities"};
    Ort::Value tokens = Ort::Value::CreateTensor<int32_t>(memory_, ids.data(), ids.size(), shape, 2);
    return *session_.Run(Ort::RunOptions{nullptr}, inputs, &tokens, 1, outputs, 1)[0].GetTensorData<float>();
  }

 private:
  static Ort::SessionOptions options() {
    Ort::SessionOptions options;
    options.SetIntraOpNumThreads(1);
    return options;
  }

  Tokenizer tokenizer_;
  Ort::Env environment_{ORT_LOGGING_LEVEL_WARNING};
  Ort::MemoryInfo memory_ = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
  Ort::Session session_;
};

std::string answer(Classifier& classifier, std::string_view request) {
  if (request.empty()) return "{}";
  thread_local simdjson::ondemand::parser parser;
  const simdjson::padded_string body(request);
  simdjson::ondemand::document document = parser.iterate(body);
  const float positive = classifier.predict(document["text"].get_string().value());
  std::array<char, 64> json;
  std::snprintf(json.data(), json.size(), "{\"label\":\"%s\",\"score\":%.9g}",
                positive >= 0.5F ? "positive" : "negative", positive >= 0.5F ? positive : 1 - positive);
  return json.data();
}

}  // namespace

int main(int, char** arguments) {
  static Classifier classifier(arguments[1]);
  std::istringstream ports(arguments[2]);
  size_t threads = 0;
  for (std::string port; std::getline(ports, port, ','); ++threads)
    drogon::app().addListener("127.0.0.1", static_cast<uint16_t>(std::stoi(port)));
  drogon::app().setThreadNum(threads).setDefaultHandler(
      [](const drogon::HttpRequestPtr& request, std::function<void(const drogon::HttpResponsePtr&)>&& respond) {
        const drogon::HttpResponsePtr response = drogon::HttpResponse::newHttpResponse();
        response->setContentTypeCode(drogon::CT_APPLICATION_JSON);
        response->setBody(answer(classifier, request->body()));
        respond(response);
      });
  drogon::app().run();
}
