#include "stage/hub_cache.hpp"

#include <cstdlib>

#include "base/files.hpp"
#include "base/hash.hpp"
#include "stage/wanted.hpp"
#include "unit/stage/folder.hpp"

namespace qsweep::stage {
namespace {

namespace fs = std::filesystem;

const std::string commit(40, 'a');

TEST(HubId, ReadsOrgNameRevision) {
  const auto id = parse_hub_id("org/name@v1.0");
  ASSERT_TRUE(id);
  EXPECT_EQ(id->repository(), "org/name");
  EXPECT_EQ(id->revision, "v1.0");
  EXPECT_EQ(id->text(), "org/name@v1.0");
  EXPECT_EQ(parse_hub_id("gpt2")->repository(), "gpt2");
  EXPECT_EQ(parse_hub_id("gpt2")->revision, "main");
}

TEST(HubId, RefusesWhatCouldLeadOut) {
  for (const char* text : {"", "/", "a/", "/a", "../a", "a/..", "a/b/c", "a/b@", "a/b@..",
                           "a/b@x/y", "a b", "a\nb", ".hidden/x", "-rf/x"})
    EXPECT_FALSE(parse_hub_id(text)) << text;
}

TEST(HubPath, TakesSafeComponentsAlone) {
  EXPECT_TRUE(is_safe_repository_path("model.safetensors"));
  EXPECT_TRUE(is_safe_repository_path("a+b_Fuser/final/projector_0.pt"));
  for (const char* path :
       {"", "/a", "a//b", "../a", "a/../b", "a/.", ".gitattributes", "a b", "a/b/c/d/e/f/g/h/i"})
    EXPECT_FALSE(is_safe_repository_path(path)) << path;
  EXPECT_TRUE(is_commit(commit));
  EXPECT_FALSE(is_commit(std::string(40, 'A')));
  EXPECT_FALSE(is_commit("main"));
}

class CacheTest : public FolderTest {
 protected:
  void SetUp() override {
    FolderTest::SetUp();
    repository_ = std::make_unique<CachedRepository>(folder_, *parse_hub_id("org/name"));
  }
  // A file of the snapshot with its blob.
  void put(const std::string& name, const std::string& text) const {
    const std::string etag = sha256_hex(std::string_view(text));
    write_file_atomic(repository_->blob(etag), text);
    repository_->link(commit, name, etag);
  }
  void put_model() const {
    put("config.json", "{}");
    put("tokenizer.json", "{ }");
    put("model.safetensors", "weights");
    for (const std::string& name : optional_model_files()) repository_->set_absent(commit, name);
  }
  std::vector<std::string> missing(Completeness completeness = Completeness::proven) const {
    return missing_model_files(*repository_, commit, completeness);
  }
  std::unique_ptr<CachedRepository> repository_;
};

TEST_F(CacheTest, HasTheLayoutOfTheHubsTools) {
  const fs::path folder = folder_ / "models--org--name";
  EXPECT_EQ(repository_->folder(), folder);
  EXPECT_EQ(repository_->blob("e"), folder / "blobs/e");
  EXPECT_EQ(repository_->part("e"), folder / "blobs/e.incomplete");
  EXPECT_EQ(repository_->lock("e"), folder_ / ".locks/models--org--name/e.lock");
  EXPECT_EQ(CachedRepository(folder_, *parse_hub_id("gpt2")).folder(), folder_ / "models--gpt2");
  put("a/b/file", "text");
  EXPECT_EQ(fs::read_symlink(repository_->snapshot(commit) / "a/b/file"),
            "../../../../blobs/" + sha256_hex(std::string_view("text")));
  EXPECT_EQ(read_file(repository_->snapshot(commit) / "a/b/file", 10), "text");
}

TEST_F(CacheTest, ReplacesALinkAndNeverFollowsIt) {
  const fs::path victim = folder_ / "victim";
  write_file_atomic(victim, "mine");
  fs::create_directories(repository_->snapshot(commit));
  fs::create_symlink(victim, repository_->snapshot(commit) / "config.json");
  put("config.json", "theirs");
  EXPECT_EQ(read_file(victim, 10), "mine");
  EXPECT_EQ(read_file(repository_->snapshot(commit) / "config.json", 10), "theirs");
}

TEST_F(CacheTest, KnowsTheCommitOfARevision) {
  EXPECT_FALSE(repository_->commit());
  repository_->set_commit(commit);
  EXPECT_EQ(repository_->commit(), commit);
  EXPECT_EQ(read_file(repository_->folder() / "refs/main", 100), commit);
  const CachedRepository pinned(folder_, *parse_hub_id("org/name@" + commit));
  EXPECT_FALSE(pinned.commit());
  put("config.json", "{}");
  EXPECT_EQ(pinned.commit(), commit);
  pinned.set_commit(commit);
  EXPECT_FALSE(fs::exists(repository_->folder() / "refs" / commit));
  write_file_atomic(repository_->folder() / "refs/main", "../../../x");
  EXPECT_TRUE(has(refusal([&] { repository_->commit(); }), "not a commit"));
}

TEST_F(CacheTest, IsCompleteWithEveryFileOrTheWordThatThereIsNone) {
  put_model();
  EXPECT_TRUE(missing().empty());
  fs::remove(repository_->folder() / ".no_exist" / commit / "merges.txt");
  EXPECT_EQ(missing(), std::vector<std::string>{"merges.txt"});
  EXPECT_TRUE(missing(Completeness::usable).empty());
  put("merges.txt", "a b");
  fs::remove(repository_->snapshot(commit) / "model.safetensors");
  EXPECT_EQ(missing(), std::vector<std::string>{"model.safetensors"});
  put("model.safetensors.index.json",
      R"({"weight_map": {"x": "model-1.safetensors", "y": "model-2.safetensors"}})");
  put("model-1.safetensors", "1");
  EXPECT_EQ(missing(), std::vector<std::string>{"model-2.safetensors"});
  put("model-2.safetensors", "2");
  EXPECT_TRUE(missing().empty());
  fs::remove(repository_->blob(sha256_hex(std::string_view("2"))));  // the link leads nowhere
  EXPECT_EQ(missing(), std::vector<std::string>{"model-2.safetensors"});
}

TEST_F(CacheTest, RefusesShardsThatLeadOut) {
  for (const char* index : {R"({"weight_map": {"x": "../x.safetensors"}})", R"({"weight_map": {}})",
                            R"({"weight_map": {"x": 1}})", R"({"weight_map": {"x": "a.bin"}})",
                            R"({"weight_map": []})", "[]", "{"})
    EXPECT_TRUE(has(refusal([&] { shards_of_index(index, "index"); }), "index")) << index;
}

TEST(HubFolders, FollowTheHubsVariables) {
  const auto set = [](const char* name, const char* value) { ::setenv(name, value, 1); };
  const std::string home = std::getenv("HOME") == nullptr ? "" : std::getenv("HOME");
  for (const char* name : {"HF_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"}) ::unsetenv(name);
  set("HOME", "/h");
  EXPECT_EQ(hub_folder(), "/h/.cache/huggingface/hub");
  set("XDG_CACHE_HOME", "/x");
  EXPECT_EQ(hub_folder(), "/x/huggingface/hub");
  set("HF_HOME", "/f");
  EXPECT_EQ(hub_folder(), "/f/hub");
  set("HF_HUB_CACHE", "/c/d");
  EXPECT_EQ(hub_folder().lexically_relative("/c"), "d/");
  EXPECT_EQ(hub_folders().size(), 4u);
  for (const char* name : {"HF_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME", "HOME"}) ::unsetenv(name);
  EXPECT_TRUE(has(refusal([] { hub_folder(); }), "no place for models"));
  set("HOME", home.c_str());
}

TEST(Wanted, OfAFuserIsTheFolderOfItsPair) {
  const std::set<std::string> files = {"README.md",
                                       "qwen3_0.6b+qwen2.5_0.5b_Fuser/final/projector_0.pt",
                                       "qwen3_0.6b+qwen2.5_0.5b_Fuser/final/projector_0.json",
                                       "qwen3_0.6b+llama3.2_1b_Fuser/final/projector_0.pt"};
  ModelNeed need{*parse_hub_id("o/fuser"), ModelPart::fuser, "Qwen/Qwen3-0.6B",
                 "Qwen/Qwen2.5-0.5B-Instruct"};
  EXPECT_EQ(wanted_files(need, files, nullptr).names,
            (std::vector<std::string>{"qwen3_0.6b+qwen2.5_0.5b_Fuser/final/projector_0.json",
                                      "qwen3_0.6b+qwen2.5_0.5b_Fuser/final/projector_0.pt"}));
  need.sharer = "other/Model";
  EXPECT_EQ(wanted_files(need, files, nullptr).names.size(), 3u);
  EXPECT_TRUE(has(refusal([&] { wanted_files(need, {"README.md"}, nullptr); }), "no projectors"));
}

TEST(Wanted, OfACheckpointIsWhatIsRead) {
  const ModelNeed need{*parse_hub_id("o/m"), ModelPart::checkpoint, "", ""};
  const WantedFiles wanted = wanted_files(
      need, {"config.json", "tokenizer.json", "model.safetensors", "merges.txt", "model.bin"},
      [] { return std::string("no index is asked for"); });
  EXPECT_EQ(wanted.names, (std::vector<std::string>{"config.json", "tokenizer.json", "merges.txt",
                                                    "model.safetensors"}));
  EXPECT_EQ(wanted.absent.size(), optional_model_files().size() - 1);
  const auto index = [] { return std::string(R"({"weight_map": {"x": "model-1.safetensors"}})"); };
  EXPECT_TRUE(has(refusal([&] {
                    wanted_files(need, {"config.json", "tokenizer.json", weights_index}, index);
                  }),
                  "no model-1.safetensors"));
}

}  // namespace
}  // namespace qsweep::stage
