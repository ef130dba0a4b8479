// safetensors, shards and the model cache: what is written is read, and everything the format
// forbids is refused.
#include "model/checkpoint.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <fstream>

#include "base/error.hpp"
#include "unit/model/reference.hpp"

namespace qsweep {
namespace {
namespace fs = std::filesystem;

class CheckpointTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(testing::TempDir()) / ("qsweep_checkpoint_" + std::to_string(::getpid()));
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  fs::path write(const std::string& name, const std::string& bytes) {
    write_file_atomic(folder_ / name, bytes);
    return folder_ / name;
  }
  // A file of this header and so many data bytes.
  fs::path file(const std::string& header, size_t data_bytes) {
    return write("t.safetensors", length(header.size()) + header + std::string(data_bytes, 'x'));
  }
  static std::string length(uint64_t value) {
    std::string bytes(8, '\0');
    std::memcpy(bytes.data(), &value, 8);
    return bytes;
  }
  std::string refusal(const fs::path& path) {
    try {
      model::SafetensorsFile opened(path);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::invalid_input) << error.what();
      EXPECT_NE(std::string(error.what()).find(path.filename().string()), std::string::npos)
          << error.what();
      return error.what();
    }
    return "accepted";
  }

  fs::path folder_;
};

TEST_F(CheckpointTest, RoundTrip) {
  const std::vector<float> values = {1, 2, 3, 4, 5, 6};
  const std::vector<uint8_t> bytes = {9, 8, 7};
  const std::map<std::string, model::TensorView> tensors = {
      {"a", {"U8", {3}, std::as_bytes(std::span(bytes))}},
      {"b", {"F32", {2, 3}, std::as_bytes(std::span(values))}},
      {"empty", {"BF16", {0, 5}, {}}},
      {"scalar", {"F32", {}, std::as_bytes(std::span(values)).first(4)}}};
  model::write_safetensors(folder_ / "m.safetensors", tensors, {{"format", "pt"}});
  const model::SafetensorsFile read(folder_ / "m.safetensors");
  EXPECT_EQ(read.metadata().at("format"), "pt");
  ASSERT_EQ(read.tensors().size(), tensors.size());
  for (const auto& [name, view] : tensors) {
    const model::TensorView& got = read.tensors().at(name);
    EXPECT_EQ(got.dtype, view.dtype);
    EXPECT_EQ(got.shape, view.shape);
    EXPECT_TRUE(
        std::equal(got.bytes.begin(), got.bytes.end(), view.bytes.begin(), view.bytes.end()))
        << name;
  }
}

TEST_F(CheckpointTest, RefusesEveryMalformedFile) {
  const std::string ok = R"({"a": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}})";
  EXPECT_EQ(refusal(file(ok, 4)), "accepted");
  const auto entry = [](const std::string& dtype, const std::string& shape,
                        const std::string& offsets) {
    return R"({"a": {"dtype": ")" + dtype + R"(", "shape": )" + shape + R"(, "data_offsets": )" +
           offsets + "}}";
  };
  const auto two = [](const std::string& first, const std::string& second) {
    return R"({"a": {"dtype": "U8", "shape": [4], "data_offsets": )" + first +
           R"(}, "b": {"dtype": "U8", "shape": [4], "data_offsets": )" + second + "}}";
  };
  const std::tuple<std::string, size_t, const char*> headers[] = {
      {ok, 3, "tensor outside the file"},
      {ok, 5, "bytes after the last tensor"},
      {"[]", 0, "header is no JSON object"},
      {" " + ok, 4, "header is no JSON object"},
      {ok.substr(0, ok.size() - 1), 4, "not valid JSON"},
      {"{\"\xff\": 1}", 0, "not valid JSON"},
      {R"({"a": 3})", 0, "wrong type"},
      {R"({"a": {"dtype": "U8", "shape": [1]}})", 1, "'data_offsets' is missing"},
      {R"({"__metadata__": {"k": 3}})", 0, "wrong type"},
      {R"({"__metadata__": []})", 0, "wrong type"},
      {entry("U8", "[4]", "[0]"), 4, "wrong number of offsets"},
      {entry("U8", "[4]", "[0, -1]"), 4, "number out of range"},
      {entry("U8", "[4]", "[0, 4.0]"), 4, "wrong type"},
      {entry("U8", "[4]", "[4, 0]"), 4, "end before begin"},
      {entry("U8", "[-4]", "[0, 4]"), 4, "number out of range"},
      {entry("U8", "4", "[0, 4]"), 4, "wrong type"},
      {entry("Q4", "[4]", "[0, 4]"), 4, "unknown dtype 'Q4'"},
      {entry("BF16", "[4]", "[0, 4]"), 4, "size does not match dtype and shape"},
      {entry("F4", "[3]", "[0, 4]"), 4, "do not fill whole bytes"},
      {entry("U8", "[4294967296, 4294967296, 4294967296]", "[0, 4]"), 4, "shape overflows"},
      {entry("F64", "[9223372036854775807]", "[0, 4]"), 4, "shape overflows"},
      {R"({"a": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}, "a": {"dtype": "U8", "shape": [4], "data_offsets": [4, 8]}})",
       8, "stands twice"},
      {two("[0, 4]", "[5, 9]"), 9, "leaves a hole"},
      {two("[0, 4]", "[2, 6]"), 6, "overlaps another"},
      {two("[0, 4]", "[0, 4]"), 4, "overlaps another"},
      {two("[1, 5]", "[5, 9]"), 9, "leaves a hole"},
  };
  for (const auto& [header, data, message] : headers) {
    const std::string got = refusal(file(header, data));
    EXPECT_NE(got.find(message), std::string::npos)
        << header << "\n  expected: " << message << "\n  got: " << got;
  }
  EXPECT_NE(refusal(write("s.safetensors", "1234567")).find("not a safetensors file"),
            std::string::npos);
  EXPECT_NE(refusal(write("s.safetensors", "")).find("not a safetensors file"), std::string::npos);
  EXPECT_NE(refusal(write("s.safetensors", length(9) + "{}")).find("truncated header"),
            std::string::npos);
  EXPECT_NE(refusal(write("s.safetensors", length(UINT64_MAX) + "{}")).find("header too long"),
            std::string::npos);
  EXPECT_NE(refusal(write("s.safetensors", length(0))).find("no JSON object"), std::string::npos);
}

// Any cut of a good file is refused, never read beyond.
TEST_F(CheckpointTest, EveryTruncationIsRefused) {
  const std::string header = R"({"a": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}})";
  const std::string whole = length(header.size()) + header + "abcd";
  for (size_t size = 0; size < whole.size(); ++size) {
    EXPECT_NE(refusal(write("s.safetensors", whole.substr(0, size))), "accepted") << size;
  }
}

class ShardedTest : public CheckpointTest {
 protected:
  void shard(const std::string& name, const std::vector<std::string>& tensors) {
    static const std::vector<uint8_t> data = {1, 2};
    std::map<std::string, model::TensorView> views;
    for (const std::string& tensor : tensors)
      views[tensor] = {"U8", {2}, std::as_bytes(std::span(data))};
    model::write_safetensors(folder_ / name, views);
  }
  void index(const std::string& weight_map) {
    write("model.safetensors.index.json",
          R"({"metadata": {"total_size": 4}, "weight_map": )" + weight_map + "}");
  }
  std::string open_refusal() {
    try {
      model::Checkpoint::open(folder_);
    } catch (const Error& error) {
      return error.what();
    }
    return "accepted";
  }
  void SetUp() override {
    CheckpointTest::SetUp();
    write("config.json",
          R"({"model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2, "vocab_size": 9,
      "num_attention_heads": 4, "intermediate_size": 128, "max_position_embeddings": 512})");
  }
};

TEST_F(ShardedTest, ReadsBothShards) {
  shard("model-00001-of-00002.safetensors", {"a"});
  shard("model-00002-of-00002.safetensors", {"b", "unlisted"});
  index(R"({"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"})");
  const auto checkpoint = model::Checkpoint::open(folder_);
  EXPECT_TRUE(checkpoint->contains("a"));
  EXPECT_TRUE(checkpoint->contains("b"));
  EXPECT_FALSE(checkpoint->contains("unlisted"));
  EXPECT_THROW(checkpoint->tensor("c"), Error);
  EXPECT_THROW(checkpoint->tensor("a", {3}), Error);
  EXPECT_EQ(checkpoint->files().size(), 4u);
  const std::string before = checkpoint->fingerprint();
  shard("model-00002-of-00002.safetensors", {"b"});
  EXPECT_NE(model::Checkpoint::open(folder_)->fingerprint(), before);
}

TEST_F(ShardedTest, RefusesBadIndexes) {
  EXPECT_NE(open_refusal().find("has no weights"), std::string::npos);
  shard("model-1.safetensors", {"a"});
  const std::pair<const char*, const char*> cases[] = {
      {R"({"a": "../model-1.safetensors"})", "not a shard's file name"},
      {R"({"a": "/etc/x.safetensors"})", "not a shard's file name"},
      {R"({"a": "model-1.bin"})", "not a shard's file name"},
      {R"({"a": 3})", "wrong type"},
      {R"([])", "wrong type"},
      {R"({"b": "model-1.safetensors"})", "tensor 'b' is missing"},
      {R"({"a": "model-2.safetensors"})", "cannot read"},
  };
  for (const auto& [map, message] : cases) {
    index(map);
    EXPECT_NE(open_refusal().find(message), std::string::npos) << map << ": " << open_refusal();
  }
}

class ResolveTest : public ShardedTest {
 protected:
  void SetUp() override {
    ShardedTest::SetUp();
    setenv("HF_HUB_CACHE", folder_.c_str(), 1);
    const fs::path repository = folder_ / "models--org--name";
    write_file_atomic(repository / "refs" / "main", "abc123\n");
    write_file_atomic(repository / "snapshots" / "abc123" / "config.json", "{}");
    write_file_atomic(repository / "snapshots" / "def456" / "config.json", "{}");
  }
  void TearDown() override {
    unsetenv("HF_HUB_CACHE");
    ShardedTest::TearDown();
  }
  std::string refusal(const std::string& name) {
    try {
      model::resolve_model(name, "/nonexistent");
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::invalid_input);
      return error.what();
    }
    return "accepted";
  }
};

TEST_F(ResolveTest, FindsFoldersAndSnapshots) {
  const fs::path snapshots = folder_ / "models--org--name" / "snapshots";
  EXPECT_EQ(model::resolve_model("org/name", "/nonexistent"), snapshots / "abc123");
  EXPECT_EQ(model::resolve_model("org/name@main", "/nonexistent"), snapshots / "abc123");
  EXPECT_EQ(model::resolve_model("org/name@def456", "/nonexistent"), snapshots / "def456");
  EXPECT_EQ(model::resolve_model(folder_.filename().string(), folder_.parent_path()), folder_);
  EXPECT_EQ(model::resolve_model(folder_.string(), "/nonexistent"), folder_);
}

TEST_F(ResolveTest, SaysWhereItLookedAndHowToStage) {
  const std::string message = refusal("org/other");
  EXPECT_NE(message.find(folder_.string()), std::string::npos) << message;
  EXPECT_NE(message.find("huggingface-cli download org/other"), std::string::npos) << message;
  EXPECT_NE(refusal("org/name@feedbeef").find("not found"), std::string::npos);
}

TEST_F(ResolveTest, NoNameLeadsOutOfTheCache) {
  write_file_atomic(folder_ / "models--org--name" / "refs" / "evil", "../../../x");
  EXPECT_NE(refusal("org/name@evil").find("not a commit"), std::string::npos);
  for (const char* name :
       {"", "../..//x", "org/../name", "org/name@../main", "org/name/more", ".hidden/x"}) {
    EXPECT_NE(refusal(name), "accepted") << name;
  }
}

}  // namespace
}  // namespace qsweep
