#include "record/record.hpp"

#include <gtest/gtest.h>
#include <hdf5.h>

#include <cstdlib>
#include <functional>

#include "base/error.hpp"
#include "base/files.hpp"
#include "record/hdf5.hpp"
#include "record/seal.hpp"
#include "record/text.hpp"
#include "tests/unit/record/example_record.hpp"
#include "tests/unit/record/temporary_folder.hpp"

namespace qsweep::record {
namespace {

using testing::bytes_of;
using testing::example_record;
using testing::TemporaryFolder;

std::string message_of(const std::filesystem::path& file) {
  try {
    read_record(file);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::invalid_input);
    return error.what();
  }
  return "no error";
}

void expect_same(const RunRecord& a, const RunRecord& b) {
  EXPECT_EQ(a.attributes, b.attributes);
  ASSERT_EQ(a.metrics.size(), b.metrics.size());
  for (const auto& [name, value] : a.metrics) {
    EXPECT_TRUE(testing::same_number(value, b.metrics.at(name))) << name;
  }
  ASSERT_EQ(a.datasets.size(), b.datasets.size());
  for (const auto& [path, data] : a.datasets) {
    EXPECT_EQ(data.shape, b.datasets.at(path).shape) << path;
    EXPECT_EQ(data.values, b.datasets.at(path).values) << path;
  }
}

TEST(Record, ReadsWhatItWrote) {
  const TemporaryFolder folder;
  RunRecord record = example_record();
  write_record(folder / "deep/r0.h5", record);
  record.set("schema_version", schema::version);
  expect_same(record, read_record(folder / "deep/r0.h5"));
  std::erase_if(record.datasets, [](const auto& d) { return !d.first.starts_with("samples/"); });
  expect_same(record, read_samples(folder / "deep/r0.h5"));
}

TEST(Record, EmptyRecordAndEmptyDatasetsRoundTrip) {
  const TemporaryFolder folder;
  RunRecord record;
  write_record(folder / "r0.h5", record);
  EXPECT_EQ(read_record(folder / "r0.h5").attributes.size(), 1u);
  record = example_record(0);
  write_record(folder / "r0.h5", record);
  EXPECT_EQ(read_record(folder / "r0.h5").datasets.at("samples/output_ids").shape,
            std::vector<int64_t>{0});
}

TEST(Record, EqualRecordsAreEqualBytes) {
  const TemporaryFolder folder;
  write_record(folder / "a/r0.h5", example_record());
  write_record(folder / "b/r0.h5", example_record());
  EXPECT_EQ(bytes_of(folder / "a/r0.h5"), bytes_of(folder / "b/r0.h5"));
}

// With QSWEEP_EXAMPLE_RECORD=FILE the record stays there: the Python tests read it with h5py.
TEST(Record, ExampleForOtherReaders) {
  const TemporaryFolder folder;
  const char* asked = std::getenv("QSWEEP_EXAMPLE_RECORD");
  const std::filesystem::path file = asked != nullptr ? asked : folder / "example.h5";
  write_record(file, example_record(600));
  EXPECT_EQ(read_record(file).datasets.at("samples/token_latency_ms").shape,
            std::vector<int64_t>{600});
}

TEST(Record, NamesTypesAndShapesMustBeTheSchemas) {
  RunRecord record;
  const auto kind_of = [](const std::function<void()>& action) {
    try {
      action();
    } catch (const Error& error) {
      return error.kind();
    }
    return ErrorKind::io;
  };
  EXPECT_EQ(kind_of([&] { record.set("no_such", int64_t{1}); }), ErrorKind::internal);
  EXPECT_EQ(kind_of([&] { record.set("rank", std::string("0")); }), ErrorKind::internal);
  EXPECT_EQ(kind_of([&] { record.metric("profile.speed", 1); }), ErrorKind::internal);
  EXPECT_EQ(kind_of([&] { record.put("samples/x", std::vector<double>{1}); }), ErrorKind::internal);
  EXPECT_EQ(kind_of([&] { record.put("samples/output_ids", std::vector<double>{1}); }),
            ErrorKind::internal);
  EXPECT_EQ(kind_of([&] { record.put("samples/output_ids", {2}, std::vector<int64_t>{1}); }),
            ErrorKind::internal);
  EXPECT_EQ(kind_of([&] {
              record.put("samples/output_ids", {1, 1}, std::vector<int64_t>{1});
            }),
            ErrorKind::internal);
  record.metrics["made.up"] = 1;
  const TemporaryFolder folder;
  EXPECT_EQ(kind_of([&] { write_record(folder / "r0.h5", record); }), ErrorKind::internal);
  EXPECT_FALSE(std::filesystem::exists(folder / "r0.h5"));
}

TEST(Record, TextIsMadeUtf8) {
  EXPECT_EQ(clean_text("plain \xE2\x82\xAC \xF0\x9F\x98\x80"),
            "plain \xE2\x82\xAC \xF0\x9F\x98\x80");
  EXPECT_EQ(clean_text(std::string("a\0b", 3)),
            "a\xEF\xBF\xBD"
            "b");
  EXPECT_EQ(clean_text("\xC0\xAF"), "\xEF\xBF\xBD\xEF\xBF\xBD");  // overlong
  EXPECT_EQ(clean_text("\xED\xA0\x80").size(), 9u);               // surrogate
  EXPECT_EQ(clean_text("\xE2\x82"), "\xEF\xBF\xBD\xEF\xBF\xBD");  // cut short
  const TemporaryFolder folder;
  RunRecord record;
  record.set("error", std::string("out of \xFF memory"));
  write_record(folder / "r0.h5", record);
  EXPECT_EQ(std::get<std::string>(read_record(folder / "r0.h5").attributes.at("error")),
            "out of \xEF\xBF\xBD memory");
}

// A file as some other program might write it, sealed so that its content is looked at.
template <class Fill>
std::filesystem::path other_file(const TemporaryFolder& folder, Fill fill) {
  hdf5::File file = hdf5::File::create_in_memory("other.h5");
  fill(file.root());
  write_file_atomic(folder / "other.h5", seal(file.image()));
  return folder / "other.h5";
}

TEST(Record, UnknownObjectsAreIgnored) {
  const TemporaryFolder folder;
  const RunRecord record = read_record(other_file(folder, [](const hdf5::Group& root) {
    root.set_attribute("schema_version", schema::version);
    root.set_attribute("colour", std::string("blue"));
    root.write("metrics/profile.tpot_ms", {{}, std::vector<double>{2.5}}, {"ms", "", {}});
    root.write("metrics/profile.smell", {{}, std::vector<double>{1}}, {"1", "", {}});
    root.write("samples/extra", {{2}, std::vector<double>{1, 2}}, {"1", "", {"n"}});
    root.write("other/extra", {{2}, std::vector<double>{1, 2}}, {"1", "", {"n"}});
  }));
  EXPECT_EQ(record.attributes.size(), 1u);
  EXPECT_EQ(record.metrics, (std::map<std::string, double>{{"profile.tpot_ms", 2.5}}));
  EXPECT_TRUE(record.datasets.empty());
}

TEST(Record, WhatContradictsTheSchemaIsRefusedByName) {
  const TemporaryFolder folder;
  const auto refused = [&](auto fill) {
    return message_of(other_file(folder, [&](const hdf5::Group& root) {
      root.set_attribute("schema_version", schema::version);
      fill(root);
    }));
  };
  const auto has = [](const std::string& text, const char* part) {
    EXPECT_NE(text.find(part), std::string::npos) << text;
  };
  has(refused([](auto& root) { root.set_attribute("schema_version", int64_t{99}); }), "version 99");
  has(refused([](auto& root) { root.set_attribute("schema_version", std::string("1")); }),
      "no integer schema_version");
  has(refused([](auto& root) { root.set_attribute("rank", 1.5); }), "attribute rank");
  has(refused([](auto& root) {
        root.write("samples/output_ids", {{1}, std::vector<double>{1}}, {"1", "", {"token"}});
      }),
      "/samples/output_ids");
  has(refused([](auto& root) {
        root.write("samples/output_ids", {{1, 1}, std::vector<int64_t>{1}}, {"1", "", {}});
      }),
      "/samples/output_ids");
  has(refused([](auto& root) {
        root.write("samples/output_ids", {{2}, std::vector<int64_t>{1, 2}}, {"1", "", {}});
        root.write("samples/token_latency_ms", {{3}, std::vector<double>{1, 2, 3}}, {"1", "", {}});
      }),
      "along token");
  has(refused([](auto& root) {
        root.write("metrics/profile.tpot_ms", {{2}, std::vector<double>{1, 2}}, {"ms", "", {}});
      }),
      "/metrics/profile.tpot_ms");
  has(refused([](auto& root) { root.external_link("samples/output_ids", "/etc/passwd", "/"); }),
      "link in");
  has(refused([](auto& root) { root.external_link("samples", "elsewhere.h5", "/"); }), "link in");
  has(refused([](auto& root) {
        root.group("samples");
        root.write("metrics", {{}, std::vector<double>{1}}, {"1", "", {}});
      }),
      "/metrics");
}

TEST(Record, SoftLinksAreRefused) {
  const TemporaryFolder folder;
  const std::string name = folder / "soft.h5";
  {
    hdf5::File file = hdf5::File::create(name);
    file.root().set_attribute("schema_version", schema::version);
    file.root().write("other/ids", {{1}, std::vector<int64_t>{1}}, {"1", "", {}});
    file.root().group("samples");
    file.close();
  }
  const hid_t id = H5Fopen(name.c_str(), H5F_ACC_RDWR, H5P_DEFAULT);
  H5Lcreate_soft("/other/ids", id, "samples/output_ids", H5P_DEFAULT, H5P_DEFAULT);
  H5Fclose(id);
  write_file_atomic(name, seal(bytes_of(name)));
  EXPECT_NE(message_of(name).find("link in"), std::string::npos);
}

TEST(Record, FilesWithoutAnIntactSealAreRefused) {
  const TemporaryFolder folder;
  EXPECT_THROW(read_record(folder / "absent.h5"), Error);
  write_file_atomic(folder / "r0.h5", "");
  EXPECT_NE(message_of(folder / "r0.h5").find("not a whole run file"), std::string::npos);
  write_record(folder / "r0.h5", example_record());
  std::string bytes = bytes_of(folder / "r0.h5");
  bytes[bytes.size() / 2] ^= 1;
  write_file_atomic(folder / "r0.h5", bytes);
  EXPECT_NE(message_of(folder / "r0.h5").find("altered"), std::string::npos);
  write_file_atomic(folder / "r0.h5", seal("no HDF5 here"));
  EXPECT_NE(message_of(folder / "r0.h5").find("cannot open as HDF5"), std::string::npos);
}

}  // namespace
}  // namespace qsweep::record
