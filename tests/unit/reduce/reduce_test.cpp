#include "reduce/reduce.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <sstream>

#include "base/error.hpp"
#include "base/hash.hpp"
#include "record/hdf5.hpp"
#include "reduce/statistics.hpp"
#include "reduce/tables.hpp"
#include "unit/reduce/run_dir.hpp"

namespace qsweep::reduce {
namespace {

using test::Entry;
namespace fs = std::filesystem;
namespace hdf5 = record::hdf5;

class Reduce : public test::RunDir {
 protected:
  const RunRow& row_of(const ReduceReport& report, const Entry& run) const {
    for (const RunRow& row : report.runs) {
      if (row.path == run.path) return row;
    }
    throw std::out_of_range("no such run in the report");
  }
  static const AggregateRow* aggregate_of(const ReduceReport& report, const std::string& config,
                                          const std::string& metric,
                                          const std::string& lengths = "") {
    for (const AggregateRow& row : report.aggregate) {
      if (row.config == config && row.metric == metric &&
          (lengths.empty() || row.lengths == lengths))
        return &row;
    }
    return nullptr;
  }
  std::string file_text(const char* name) const { return read_file(dir / name, 1 << 24); }
  // Status and reason of one run after its record was edited.
  RunRow reduce_edited(const Entry& run,
                       const std::function<void(record::RunRecord&)>& edit) const {
    rewrite(run, edit);
    return row_of(reduce(dir), run);
  }
};

TEST_F(Reduce, AggregatesEveryConfigCellAndMetric) {
  const ReduceReport report = reduce(dir);
  EXPECT_EQ(report.ok, static_cast<int64_t>(plan.runs.size()));
  EXPECT_EQ(report.failed + report.unproven + report.missing, 0);

  const AggregateRow* tpot = aggregate_of(report, "C3", "profile.tpot_ms");
  ASSERT_NE(tpot, nullptr);
  std::vector<double> values;
  for (int64_t r = 0; r < 3; ++r)
    values.push_back(test::made_up(entry("C3", "profile", r)).metrics["profile.tpot_ms"]);
  EXPECT_EQ(tpot->n, 3);
  EXPECT_DOUBLE_EQ(tpot->mean, (values[0] + values[1] + values[2]) / 3);
  // n = 3: half width = 4.302653 sd / sqrt(3).
  EXPECT_NEAR(tpot->ci95_high - tpot->mean, 4.302653 * tpot->sd / std::sqrt(3.0), 1e-6 * tpot->sd);
  EXPECT_EQ(tpot->max, *std::max_element(values.begin(), values.end()));
  EXPECT_EQ(tpot->units, "ms");
  EXPECT_EQ(tpot->better, "lower");
  EXPECT_EQ(tpot->item_n, 0);

  const AggregateRow* nll = aggregate_of(report, "C3", "perplexity.nll");
  ASSERT_NE(nll, nullptr);
  EXPECT_EQ(nll->sd, 0.0);
  EXPECT_TRUE(std::isnan(nll->ci95_low)) << "repeats of the same bits have no interval";
  EXPECT_EQ(nll->item_n, 20);
  EXPECT_NEAR(nll->item_mean, nll->mean, 1e-12);
  EXPECT_LT(nll->item_ci95_low, nll->item_mean);
  EXPECT_GT(nll->item_ci95_high, nll->item_mean);
}

TEST_F(Reduce, JudgesClaimsAndFindsTheFloor) {
  const ReduceReport report = reduce(dir);
  ASSERT_EQ(report.claims.size(), 3u);
  EXPECT_EQ(report.claims[0].verdict, Verdict::supported) << report.claims[0].note;
  EXPECT_EQ(report.claims[0].n, 3);
  EXPECT_EQ(report.claims[1].verdict, Verdict::supported) << report.claims[1].note;
  EXPECT_EQ(report.claims[1].n, 20);
  EXPECT_NEAR(report.claims[1].estimate, -1e-4, 1e-12);
  EXPECT_EQ(report.claims[2].verdict, Verdict::refuted) << report.claims[2].note;
  for (const ClaimResult& claim : report.claims) EXPECT_FALSE(claim.exploratory);

  ASSERT_FALSE(report.noise_floor.empty());
  for (const NoiseFloorRow& row : report.noise_floor) {
    if (row.metric == "perplexity.nll") {
      EXPECT_EQ(row.floor, 0.0);
    }
    if (row.metric == "profile.tpot_ms") {
      EXPECT_GT(row.floor, std::abs(row.relative_difference));
      EXPECT_LT(row.floor, 0.01);
    }
  }
}

TEST_F(Reduce, AddsUpTheCost) {
  const ReduceReport report = reduce(dir);
  ASSERT_EQ(report.cost.size(), 2u);
  EXPECT_DOUBLE_EQ(report.total_busy_s, 2.5 * static_cast<double>(plan.runs.size()));
  // Rank 0 has repeats 0 and 2: 12:00:00 to 12:01:02.
  EXPECT_EQ(report.cost[0].span_s, 62.0);
  EXPECT_EQ(report.cost[1].span_s, 60.0);
  EXPECT_EQ(report.cost[0].runs + report.cost[1].runs, static_cast<int64_t>(plan.runs.size()));
}

TEST_F(Reduce, WritesSweepFileThatEqualsTheReport) {
  const ReduceReport report = reduce(dir);
  const hdf5::File file = hdf5::File::open(dir / "sweep.h5");
  const hdf5::Group root = file.root();
  const auto compare = [&](const std::string& group, const Table& table) {
    for (const Column& column : table) {
      const std::string path = group + "/" + column.name;
      ASSERT_TRUE(root.has(path)) << path;
      const record::Dataset data = root.read(path);
      if (const auto* reals = std::get_if<std::vector<double>>(&column.values)) {
        const auto& found = std::get<std::vector<double>>(data.values);
        ASSERT_EQ(found.size(), reals->size()) << path;
        for (size_t i = 0; i < found.size(); ++i) {
          EXPECT_TRUE(found[i] == (*reals)[i] || (std::isnan(found[i]) && std::isnan((*reals)[i])))
              << path;
        }
      } else {
        EXPECT_EQ(data.values, column.values) << path;
      }
      const hdf5::Shape shape = root.shape(path);
      EXPECT_FALSE(shape.units.empty()) << path;
      EXPECT_FALSE(shape.long_name.empty()) << path;
    }
  };
  compare("aggregate", aggregate_table(report));
  compare("claims", claims_table(report));
  compare("cost", cost_table(report));
  compare("noise_floor", noise_floor_table(report));
  compare("run_index", run_index_table(report));
  EXPECT_EQ(root.group("cost").attribute("missing"), record::Attribute(int64_t{0}));

  const Entry& run = entry("C3", "profile", 0);
  const std::vector<hdf5::Link> links =
      root.group("runs/C3/" + run.workload + "/" + run.lengths).links();
  ASSERT_EQ(links.size(), 3u);
  EXPECT_EQ(links[0].name, "r0");
  EXPECT_EQ(links[0].kind, hdf5::LinkKind::external);
}

TEST_F(Reduce, WritesTheSameBytesAgainAndElsewhere) {
  reduce(dir);
  const std::string aggregate = file_text("aggregate.csv"), paper = file_text("paper_table.csv");
  const std::string sweep = file_text("sweep.h5");
  EXPECT_GT(std::count(aggregate.begin(), aggregate.end(), '\n'), 10);
  const std::string text = reduce(dir).text();
  EXPECT_EQ(file_text("aggregate.csv"), aggregate);
  EXPECT_EQ(file_text("paper_table.csv"), paper);
  EXPECT_EQ(file_text("sweep.h5"), sweep);

  const fs::path moved = dir.string() + "-moved";
  fs::remove_all(moved);
  fs::rename(dir, moved);
  dir = moved;
  EXPECT_EQ(reduce(dir).text(), text);
  EXPECT_EQ(file_text("aggregate.csv"), aggregate);
  EXPECT_EQ(file_text("paper_table.csv"), paper);
}

TEST_F(Reduce, PaperTableHasOneLineAConfig) {
  const ReduceReport report = reduce(dir);
  const std::string csv = file_text("paper_table.csv");
  std::istringstream lines(csv);
  std::string header, first;
  std::getline(lines, header);
  std::getline(lines, first);
  EXPECT_EQ(header.substr(0, header.find(",nll")),
            "config,duplicate_of,w_bits,a_bits,kv_bits,group_size,weight_format,scale_format,quant_"
            "method,"
            "weight_bytes,weight_bytes_ci95,weight_bytes_ratio");
  EXPECT_EQ(first.substr(0, first.find(",none")), "C0,,16,-1,-1,0,");
  EXPECT_EQ(std::count(csv.begin(), csv.end(), '\n'),
            static_cast<int64_t>(plan.configs.size()) + 1);

  const PaperRow& c3 = report.paper[1];
  ASSERT_EQ(c3.config, "C3");
  const auto figure = [&](const std::string& name) {
    for (size_t f = 0; f < report.paper_columns.size(); ++f) {
      if (report.paper_columns[f].name == name) return c3.figures[f];
    }
    throw std::out_of_range(name);
  };
  EXPECT_EQ(figure("weight_bytes").value, 2e9);
  EXPECT_DOUBLE_EQ(figure("weight_bytes").ratio, 2.0 / 7.0);
  EXPECT_NEAR(figure("tpot_ms").value, 3.0, 0.003);
  EXPECT_GT(figure("tpot_ms").half_width, 0.0);
  EXPECT_NEAR(figure("tpot_ms").ratio, 0.6, 0.002);
  EXPECT_NEAR(figure("ppl").value, std::exp(figure("nll").value), 1e-9);
  EXPECT_TRUE(std::isnan(figure("kl").value)) << "no record holds it";
}

TEST_F(Reduce, ProtocolsOfAnotherKindLeaveTheColumn) {
  for (int64_t r = 0; r < 3; ++r) {
    rewrite(entry("C4", "perplexity", r), [](record::RunRecord& record) {
      record.set("protocol_fingerprint", std::string("another"));
    });
  }
  const ReduceReport report = reduce(dir);
  EXPECT_EQ(report.claims[1].verdict, Verdict::inconclusive);
  EXPECT_NE(report.claims[1].note.find("protocols of C3 and C4 differ"), std::string::npos);
  EXPECT_TRUE(std::isnan(report.paper[2].figures[1].value));
  EXPECT_NE(report.paper[2].note.find("another protocol"), std::string::npos);
}

// ---- proof

TEST_F(Reduce, RefusesTamperedCertificates) {
  const Entry& run = entry("C3", "profile", 0);
  const auto unproven = [&](const char* reason,
                            const std::function<void(record::RunRecord&)>& edit) {
    const RunRow row = reduce_edited(run, edit);
    EXPECT_EQ(row.status, RunStatus::unproven) << reason;
    EXPECT_NE(row.error.find(reason), std::string::npos) << row.error;
  };
  unproven("changed after", [](record::RunRecord& r) {
    r.put("certificate/sqnr_db",
          std::vector<double>{22, 22});  // inside the band, but not what was sealed
  });
  unproven("the config promises int4 g128", [](record::RunRecord& r) {
    r.put("certificate/format", std::vector<std::string>{"bf16", "int4 g128"});
    test::seal_certificate(r);
  });
  unproven("outside the band", [](record::RunRecord& r) {
    r.put("certificate/sqnr_db", std::vector<double>{20, 90});  // implausibly good
    test::seal_certificate(r);
  });
  unproven("calls", [](record::RunRecord& r) {
    r.put("certificate/calls", std::vector<int64_t>{7, 0});
    test::seal_certificate(r);
  });
  unproven("rounded to none, the config promises int8_token", [](record::RunRecord& r) {
    r.put("certificate/activations", std::vector<std::string>{"int8_token", "none"});
    test::seal_certificate(r);
  });
  unproven("inputs of 6 of 7 calls", [](record::RunRecord& r) {
    r.put("certificate/activation_calls", std::vector<int64_t>{7, 6});
    test::seal_certificate(r);
  });
  unproven("comes from no calibrated magnitude", [](record::RunRecord& r) {
    for (const char* name : {"certificate/activations", "certificate/expected_activations"})
      r.put(name, std::vector<std::string>(2, "int8_tensor"));
    test::seal_certificate(r);
  });
  unproven("certificate is incomplete", [](record::RunRecord& r) {
    r.datasets.erase("certificate/activation_calls");
    test::seal_certificate(r);
  });
  unproven("nothing was quantized", [](record::RunRecord& r) {
    r.put("certificate/canary", std::vector<double>{0.0});
    test::seal_certificate(r);
  });
  unproven("no certificate", [](record::RunRecord& r) {
    std::erase_if(r.datasets, [](const auto& d) { return d.first.starts_with("certificate/"); });
    r.attributes.erase("certificate_digest");
  });
  unproven("its own verdict", [](record::RunRecord& r) {
    r.set("certificate_problem", std::string("its own verdict"));
  });
}

TEST_F(Reduce, LeavesUnprovenRunsOut) {
  const Entry& run = entry("C3", "profile", 0);
  rewrite(run, [](record::RunRecord& r) {
    r.put("certificate/calls", std::vector<int64_t>{0, 0});
  });
  const ReduceReport report = reduce(dir);
  EXPECT_EQ(report.unproven, 1);
  EXPECT_EQ(aggregate_of(report, "C3", "profile.tpot_ms", run.lengths)->n, 2);
  EXPECT_EQ(report.claims[0].n, 2) << "the repeat has not every cell any more";
  EXPECT_NE(report.text().find("unproven, left out (1)"), std::string::npos);
}

TEST_F(Reduce, RunsOfAConfigMustPackTheSameBytes) {
  const auto repack = [](record::RunRecord& r) {
    for (const char* name : {"certificate/hash_packed", "certificate/hash_after"}) {
      r.put(name, std::vector<std::string>{"hash of C30", "other bytes"});
    }
    test::seal_certificate(r);
  };
  const RunRow row = reduce_edited(entry("C3", "profile", 1), repack);
  EXPECT_EQ(row.status, RunStatus::unproven);
  EXPECT_EQ(row.error, "runs of C3 did not pack the same bytes: layers.1.down differs");
  EXPECT_EQ(reduce(dir).unproven, 1) << "the majority stands";
}

TEST_F(Reduce, RunsOfAConfigMustBeCalibratedAlike) {
  for (const Entry& run : plan.runs) {
    if (run.config != "C3" || run.kind == "synthetic") continue;
    const double absmax = run.repeat == 1 && run.workload == "profile" ? 2.5 : 2.25;
    rewrite(run, [&](record::RunRecord& r) {
      for (const char* name : {"certificate/activations", "certificate/expected_activations"})
        r.put(name, std::vector<std::string>(2, "int8_tensor"));
      r.put("certificate/activation_absmax", std::vector<double>{1, absmax});
      test::seal_certificate(r);
    });
  }
  const ReduceReport report = reduce(dir);
  size_t others = 0;
  for (const RunRow& row : report.runs) {
    if (row.status != RunStatus::unproven) continue;
    EXPECT_EQ(row.error, "runs of C3 were not calibrated alike: layers.1.down differs");
    ++others;
  }
  EXPECT_GT(others, 0u);
  EXPECT_EQ(report.unproven, static_cast<int64_t>(others));
}

TEST(PackedAgreement, WithoutMajorityNoneStands) {
  PackedAgreement agreement;
  for (size_t run = 0; run < 4; ++run) {
    record::RunRecord record;
    test::put_certificate(run % 2 ? "odd" : "even", true, record);
    agreement.add("C3", run, record);
  }
  ASSERT_EQ(agreement.disagreements().size(), 4u);
  EXPECT_EQ(agreement.disagreements()[3].first, 3u);
}

TEST_F(Reduce, SyntheticNeedsNoCertificate) {
  const RunRow row = reduce_edited(entry("C3", "synthetic", 0), [](record::RunRecord&) {});
  EXPECT_EQ(row.status, RunStatus::ok);
}

// ---- what is broken or not there

TEST_F(Reduce, CountsWhatItCannotRead) {
  const Entry &cut = entry("C0", "profile", 0), &empty = entry("C0", "profile", 1),
              &folder = entry("C0", "profile", 2), &noise = entry("C3", "profile", 0);
  const std::string bytes = read_file(dir / cut.path, 1 << 24);
  write_file_atomic(dir / cut.path, bytes.substr(0, bytes.size() / 2));
  write_file_atomic(dir / empty.path, "");
  fs::remove(dir / folder.path);
  fs::create_directories(dir / folder.path);
  write_file_atomic(dir / noise.path, "\x89HDF\r\n\x1a\n but no more than that");
  const ReduceReport report = reduce(dir);
  EXPECT_EQ(report.unreadable, 4);
  EXPECT_EQ(report.failed, 4);
  for (const Entry* run : {&cut, &empty, &folder, &noise}) {
    const RunRow& row = row_of(report, *run);
    EXPECT_EQ(row.status, RunStatus::unreadable);
    EXPECT_FALSE(row.error.empty());
    EXPECT_EQ(row.error.find(dir.string()), std::string::npos)
        << "reports do not say where the folder lies";
  }
}

TEST_F(Reduce, CountsMissingAndFailedRuns) {
  const Entry& gone = entry("C0", "profile", 0);
  fs::remove(dir / gone.path);
  rewrite(entry("C4", "profile", 1), [](record::RunRecord& r) {
    r.set("status", std::string("failed"));
    r.set("error", std::string("out of memory (made up)"));
    r.metrics.clear();
  });
  const ReduceReport report = reduce(dir);
  EXPECT_EQ(report.missing, 1);
  EXPECT_EQ(report.failed, 1);
  EXPECT_EQ(row_of(report, gone).status, RunStatus::missing);
  const std::string text = report.text();
  EXPECT_NE(text.find("out of memory (made up)"), std::string::npos) << text;
  EXPECT_NE(text.find("missing (1)"), std::string::npos) << text;
  EXPECT_FALSE(hdf5::File::open(dir / "sweep.h5")
                   .root()
                   .has("runs/C0/" + gone.workload + "/" + gone.lengths + "/r0"));
}

TEST_F(Reduce, AnotherRunInTheFilesPlaceDoesNotCount) {
  const Entry& run = entry("C3", "profile", 0);
  record::write_record(dir / run.path, test::made_up(entry("C4", "profile", 0)));
  const RunRow row = row_of(reduce(dir), run);
  EXPECT_EQ(row.status, RunStatus::unreadable);
  EXPECT_NE(row.error.find("not the planned run"), std::string::npos);
}

TEST_F(Reduce, IgnoresWhatThePlanDoesNotName) {
  const ReduceReport before = reduce(dir);
  const Entry& run = entry("C3", "profile", 0);
  write_file_atomic(dir / "results/C3/stray.h5", "not a record");
  fs::copy(dir / run.path, dir / (run.path + ".123" + std::string(temporary_suffix)));
  const ReduceReport after = reduce(dir);
  EXPECT_EQ(after.ok, before.ok);
  EXPECT_EQ(after.text(), before.text());
}

TEST_F(Reduce, NothingThereIsAReportToo) {
  fs::remove_all(dir / "results");
  const ReduceReport report = reduce(dir);
  EXPECT_EQ(report.missing, static_cast<int64_t>(plan.runs.size()));
  EXPECT_TRUE(report.aggregate.empty());
  for (const ClaimResult& claim : report.claims) EXPECT_EQ(claim.verdict, Verdict::inconclusive);
  EXPECT_FALSE(report.text().empty());
  EXPECT_NO_THROW(hdf5::File::open(dir / "sweep.h5"));
}

// ---- the plan

TEST_F(Reduce, LaterClaimsAreExploratory) {
  const std::string first = sweep::claims_hash({plan.claims[0], plan.claims[1]});
  write_plan(dir, [&](nlohmann::json& json) { json["claims_hash"] = first; });
  ReduceReport report = reduce(dir);
  EXPECT_FALSE(report.claims[1].exploratory);
  EXPECT_TRUE(report.claims[2].exploratory);
  EXPECT_NE(report.text().find("slower_than_bf16 (exploratory)"), std::string::npos);
  write_plan(dir, [&](nlohmann::json& json) {
    json["claims_hash"] = sha256_hex(std::string_view("other"));
  });
  report = reduce(dir);
  for (const ClaimResult& claim : report.claims) EXPECT_TRUE(claim.exploratory);
}

TEST_F(Reduce, AnUnsafePlanIsRefused) {
  write_plan(dir, [](nlohmann::json& json) { json["runs"][0]["path"] = "../../etc/passwd"; });
  EXPECT_THROW(reduce(dir), Error);
  write_file_atomic(dir / "manifests" / "plan.json", "{\"runs\": 7");
  EXPECT_THROW(reduce(dir), Error);
  fs::remove(dir / "manifests" / "plan.json");
  EXPECT_THROW(reduce(dir), Error);
}

}  // namespace
}  // namespace qsweep::reduce
