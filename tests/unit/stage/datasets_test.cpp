#include "stage/datasets.hpp"

#include <nlohmann/json.hpp>

#include "base/files.hpp"
#include "base/hash.hpp"
#include "stage/archive.hpp"
#include "stage/convert.hpp"
#include "unit/stage/folder.hpp"

namespace qsweep::stage {
namespace {

namespace fs = std::filesystem;

std::string converted(Conversion conversion, const std::string& text) {
  return convert(conversion, text, "name", "place").jsonl;
}

TEST(Convert, RowsKeepTheirEndsAndBlankOnesAreEmpty) {
  EXPECT_EQ(converted(Conversion::rows, " a \n \n\nb"),
            "{\"text\":\" a \\n\"}\n{\"text\":\"\"}\n{\"text\":\"\"}\n{\"text\":\"b\"}\n");
  EXPECT_EQ(convert(Conversion::rows, "a\nb\n", "n", "p").rows, 2u);
}

TEST(Convert, WritesUtf8AsItIs) {
  EXPECT_EQ(converted(Conversion::lambada, "{\"text\": \"caf\\u00e9 \\\"x\\\"\"}\n"),
            "{\"id\":\"name-0\",\"text\":\"caf\xc3\xa9 \\\"x\\\"\"}\n");
}

TEST(Convert, TellsTheLine) {
  const std::string good = "{\"text\": \"a b\"}\n";
  EXPECT_TRUE(has(refusal([&] { converted(Conversion::lambada, good + "\n{}\n"); }), "place:3:"));
  EXPECT_TRUE(
      has(refusal([&] { converted(Conversion::lambada, good + good + "{\"text\": \"one\"}"); }),
          "place:3: a passage of one word"));
}

TEST(Convert, RefusesAnswersThatAreNoChoice) {
  const auto item = [](int label) {
    return nlohmann::json({{"ind", 1},
                           {"activity_label", "a"},
                           {"ctx_a", "b"},
                           {"ctx_b", ""},
                           {"endings", {"x", "y"}},
                           {"label", label}})
        .dump();
  };
  EXPECT_TRUE(has(converted(Conversion::hellaswag, item(1)), "\"answer\":1"));
  EXPECT_TRUE(
      has(refusal([&] { converted(Conversion::hellaswag, item(2)); }), "no usable choices"));
  EXPECT_TRUE(has(refusal([&] { converted(Conversion::hellaswag, item(-1)); }), "'label'"));
}

class DatasetTest : public FolderTest {
 protected:
  DatasetSource source() const {
    DatasetSource source;
    source.name = "s";
    source.urls = {"http://127.0.0.1:1/nowhere"};
    source.files = {{"d", "", Conversion::rows, ""}};
    return source;
  }
  void stage(const std::string& text, int version = 1) const {
    write_file_atomic(dataset_path(folder_, "d"), text);
    const nlohmann::json manifest = {{"sha256", nullptr},
                                     {"files",
                                      {{{"name", "d"},
                                        {"member", ""},
                                        {"conversion", "rows"},
                                        {"converter", version},
                                        {"content_sha256", "c"},
                                        {"sha256", sha256_hex(std::string_view(text))}}}}};
    write_file_atomic(manifest_path(folder_, "s"), manifest.dump());
  }
};

TEST_F(DatasetTest, IsStagedByteForByteAsItsManifestSays) {
  EXPECT_FALSE(is_staged(source(), folder_));
  stage("{\"text\":\"a\"}\n");
  EXPECT_TRUE(is_staged(source(), folder_));
  DatasetSource other = source();
  other.files[0].sha256 = "d";
  EXPECT_FALSE(is_staged(other, folder_));
  other = source();
  other.files[0].conversion = Conversion::lambada;
  EXPECT_FALSE(is_staged(other, folder_));
  other = source();
  other.files.push_back({"e", "", Conversion::rows, ""});
  EXPECT_FALSE(is_staged(other, folder_));
  write_file_atomic(dataset_path(folder_, "d"), "{\"text\":\"b\"}\n");
  EXPECT_FALSE(is_staged(source(), folder_));
  stage("x", 0);
  EXPECT_FALSE(is_staged(source(), folder_));
  write_file_atomic(manifest_path(folder_, "s"), "{");
  EXPECT_TRUE(has(refusal([&] { is_staged(source(), folder_); }), "s.manifest.json"));
}

TEST_F(DatasetTest, FoldersFollowTheStudyUnlessOneIsNamed) {
  ::unsetenv("QSWEEP_DATA");
  fs::create_directories(folder_ / "a" / "b");
  EXPECT_EQ(dataset_folder(folder_ / "a/b/study.yaml"), fs::current_path() / "data/datasets");
  fs::create_directories(folder_ / "data" / "datasets");
  EXPECT_EQ(dataset_folder(folder_ / "a/b/study.yaml"), folder_ / "data/datasets");
  ::setenv("QSWEEP_DATA", "/named", 1);
  EXPECT_EQ(dataset_folder(folder_ / "a/b/study.yaml"), "/named");
  EXPECT_EQ(dataset_folders(folder_ / "a/b/study.yaml").front(), "/named");
  ::unsetenv("QSWEEP_DATA");
}

TEST_F(DatasetTest, SourcesOfFilesGiveRanges) {
  write_file_atomic(folder_ / "f", "0123456789");
  const ByteSource source = source_of_file(folder_ / "f");
  EXPECT_EQ(source.size, 10u);
  EXPECT_EQ(source.read(3, 4), "3456");
  EXPECT_EQ(source.read(8, 4), "89");
}

}  // namespace
}  // namespace qsweep::stage
