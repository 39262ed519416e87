// The competent version in C++: Drogon and ONNX Runtime, with the graph and the tokenizer in MODEL_FOLDER.
// `competent PORT,PORT` serves it on each port, with as many threads.
#include <cctype>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include <drogon/drogon.h>
#include <onnxruntime_cxx_api.h>

namespace {

constexpr std::string_view separators = "!\"#$%&()*+,-./:;<=>?@[\\]^_`{|}~ \t\n\r\v\f";

std::unordered_map<std::string, int32_t> read_vocabulary(const std::string& path) {
  Json::Value document;
  std::ifstream(path) >> document;
  const Json::Value& words = document["model"]["vocab"];
  std::unordered_map<std::string, int32_t> vocabulary;
  for (auto word = words.begin(); word != words.end(); ++word) vocabulary[word.name()] = word->asInt();
  return vocabulary;
}

class Classifier {
 public:
  explicit Classifier(const std::string& folder)
      : vocabulary_(read_vocabulary(folder + "/tokenizer.json")),
        session_(environment_, (folder + "/model.onnx").c_str(), options()) {}

  float predict(const std::string& text) {
    std::vector<int32_t> ids = encode(text);
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

  std::vector<int32_t> encode(const std::string& text) const {
    std::vector<int32_t> ids = {0, 0, 0, 1};
    std::string word;
    const auto end_word = [&] {
      if (word.empty()) return;
      const auto found = vocabulary_.find(word);
      ids.push_back(found == vocabulary_.end() ? 2 : found->second);
      word.clear();
    };
    for (const char character : text) {
      if (separators.find(character) == std::string_view::npos)
        word.push_back(static_cast<char>(std::tolower(static_cast<unsigned char>(character))));
      else
        end_word();
    }
    end_word();
    if (ids.size() > 400) ids.erase(ids.begin(), ids.end() - 400);
    return ids;
  }

  std::unordered_map<std::string, int32_t> vocabulary_;
  Ort::Env environment_{ORT_LOGGING_LEVEL_WARNING};
  Ort::MemoryInfo memory_ = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
  Ort::Session session_;
};

}  // namespace

int main(int, char** arguments) {
  static Classifier classifier(std::getenv("MODEL_FOLDER"));
  std::istringstream ports(arguments[1]);
  size_t threads = 0;
  for (std::string port; std::getline(ports, port, ','); ++threads)
    drogon::app().addListener("127.0.0.1", static_cast<uint16_t>(std::stoi(port)));
  drogon::app().setThreadNum(threads).setDefaultHandler(
      [](const drogon::HttpRequestPtr& request, std::function<void(const drogon::HttpResponsePtr&)>&& respond) {
        Json::Value answer(Json::objectValue);
        if (const auto body = request->getJsonObject()) {
          const float positive = classifier.predict((*body)["text"].asString());
          answer["label"] = positive >= 0.5F ? "positive" : "negative";
          answer["score"] = positive >= 0.5F ? positive : 1 - positive;
        }
        respond(drogon::HttpResponse::newHttpJsonResponse(answer));
      });
  drogon::app().run();
}
