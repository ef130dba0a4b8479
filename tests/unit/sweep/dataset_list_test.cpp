#include "sweep/plan/dataset_list.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "base/error.hpp"
#include "sweep/plan/needs.hpp"

namespace qsweep::sweep {
namespace {

std::string refusal(const std::string& yaml) {
  try {
    parse_dataset_list(yaml, "list.yaml");
  } catch (const Error& error) {
    return error.what();
  }
  return "accepted";
}

TEST(DatasetList, ShippedOneKnowsEveryTaskOfThePaperStudies) {
  const auto sources = read_dataset_list(std::string(QSWEEP_SOURCE_DIR) + "/configs/datasets.yaml");
  std::set<std::string> names;
  for (const auto& source : sources) {
    EXPECT_FALSE(source.licence.empty()) << source.name;
    for (const std::string& url : source.urls) EXPECT_TRUE(url.starts_with("https://")) << url;
    for (const auto& file : source.files) names.insert(file.name);
  }
  for (const char* name : {"wikitext2", "wikitext2_train", "hellaswag", "arc_easy", "arc_challenge",
                           "openbookqa", "gsm8k", "gsm8k_train", "lambada_openai", "squad"})
    EXPECT_TRUE(names.contains(name)) << name;
}

TEST(DatasetList, ReadsEveryKey) {
  const auto sources = parse_dataset_list(
      "sources:\n"
      "  s:\n"
      "    url: [https://a/b.zip, http://c/d]\n"
      "    licence: MIT\n"
      "    format: zip\n"
      "    bytes: 12\n"
      "    sha256: " +
          std::string(64, 'a') +
          "\n"
          "    files: {d: {member: x/y.jsonl, as: choice, sha256: " +
          std::string(64, 'b') + "}}\n",
      "list.yaml");
  ASSERT_EQ(sources.size(), 1u);
  EXPECT_EQ(sources[0].urls.size(), 2u);
  EXPECT_EQ(sources[0].bytes, 12u);
  EXPECT_EQ(sources[0].sha256, std::string(64, 'a'));
  EXPECT_EQ(sources[0].files[0].member, "x/y.jsonl");
  EXPECT_EQ(sources[0].files[0].conversion, stage::Conversion::choice);
  EXPECT_EQ(sources[0].files[0].sha256, std::string(64, 'b'));
}

TEST(DatasetList, TellsWhatMakesNoSense) {
  const auto with = [](const std::string& body) {
    return refusal("sources: {s: {licence: MIT, " + body + "}}");
  };
  const auto says = [](const std::string& text, const std::string& words) {
    EXPECT_NE(text.find(words), std::string::npos) << text;
  };
  const std::string rest = "url: 'https://a/b', files: {d: {as: rows}}";
  says(with("format: plain, " + rest), "accepted");
  says(with("format: rar, " + rest), "rar");
  says(with("format: plain, bytes: 0, " + rest), "bytes");
  says(with("format: plain, in_parts: true, " + rest), "only a zip");
  says(with("format: zip, " + rest), "member");
  says(with("format: plain, url: 'https://a/b', files: {d: {as: rows, member: x}}"), "no archive");
  says(with("format: plain, url: 'https://a/b', files: {d: {as: rows}, e: {as: rows}}"),
       "is one dataset");
  says(with("format: plain, url: 'https://a/b', files: {d.x: {as: rows}}"), "no dot");
  says(with("format: plain, url: 'https://a/b', files: {}"), "expected 1 to 100");
  says(with("format: plain, url: [], files: {d: {as: rows}}"), "addresses");
  says(with("format: plain, url: 'https://a b/', files: {d: {as: rows}}"), "no address");
  says(with("format: plain, sha256: " + std::string(64, 'A') + ", " + rest), "no SHA-256");
  says(refusal("sources: {a: {licence: x, format: plain, " + rest +
               "}, b: {licence: x, format: plain, " + rest + "}}"),
       "stands in two sources");
  says(refusal("sources: []"), "expected a map");
  says(refusal(""), "list.yaml");
}

TEST(Needs, AreEverythingThatAStudyNames) {
  ::setenv("QSWEEP_DATASETS", (std::string(QSWEEP_SOURCE_DIR) + "/configs/datasets.yaml").c_str(),
           1);
  ::setenv("QSWEEP_DATA", "/nonexistent", 1);
  const StudyNeeds all =
      needs_of(parse_study("study: s\n"
                           "model: org/model@v1\n"
                           "calibration: {data: wikitext2_train}\n"
                           "configs:\n"
                           "  A: {}\n"
                           "  B: {sharer: {model: org/sharer, fuser: org/fuser}}\n"
                           "  C: {sharer: {model: org/sharer, fuser: org/fuser, kv: int8/head}}\n"
                           "workloads:\n"
                           "  perplexity: {data: wikitext2}\n"
                           "  own: {kind: perplexity, data: my/text.txt}\n"
                           "  tasks: {names: [gsm8k, choice, open_maths], shots: 3}\n",
                           "/nonexistent/study.yaml"));
  std::set<std::string> models, datasets;
  for (const auto& need : all.needs.models) models.insert(need.id.text());
  for (const auto& source : all.needs.datasets) datasets.insert(source.name);
  EXPECT_EQ(models, (std::set<std::string>{"org/model@v1", "org/sharer", "org/fuser"}));
  EXPECT_EQ(all.needs.models.size(), 3u);
  EXPECT_EQ(datasets, (std::set<std::string>{"wikitext2_raw", "gsm8k_test", "gsm8k_train"}));
  EXPECT_EQ(all.notices.size(), 2u);  // open_maths and its training split
  EXPECT_EQ(unstaged(all).size(), 6u);
  EXPECT_EQ(all.needs.dataset_folder, "/nonexistent");
  ::unsetenv("QSWEEP_DATASETS");
  ::unsetenv("QSWEEP_DATA");
}

}  // namespace
}  // namespace qsweep::sweep
