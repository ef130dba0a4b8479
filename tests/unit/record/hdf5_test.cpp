#include "record/hdf5.hpp"

#include <gtest/gtest.h>
#include <hdf5.h>
#include <hdf5_hl.h>

#include <fstream>
#include <functional>

#include "base/error.hpp"
#include "base/files.hpp"
#include "tests/unit/record/temporary_folder.hpp"

namespace qsweep::record::hdf5 {
namespace {

using testing::TemporaryFolder;
using Doubles = std::vector<double>;
using Integers = std::vector<int64_t>;
using Texts = std::vector<std::string>;

std::string message_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(Hdf5, RoundTripsEveryTypeAndRank) {
  const TemporaryFolder folder;
  {
    File file = File::create(folder / "a.h5");
    const Group root = file.root();
    root.write("deep/er/cube", {{2, 3, 2}, Doubles{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, -1e-300}},
               {"ms", "a cube", {"x", "y", "z"}});
    root.write("numbers", {{3}, Integers{INT64_MIN, 0, INT64_MAX}}, {"1", "integers", {"n"}});
    root.write("words", {{2}, Texts{"", "h\xC3\xA9"}}, {"1", "words", {"w"}});
    root.write("scalar", {{}, Doubles{0.1}}, {"s", "a scalar", {}});
    root.write("none", {{0}, Doubles{}}, {"1", "nothing", {"empty"}});
    root.set_attribute("i", int64_t{-5});
    root.set_attribute("d", 0.1);
    root.set_attribute("t", std::string("\xE2\x82\xAC"));
    root.set_attribute("t", std::string("again"));
    file.close();
  }
  const File file = File::open(folder / "a.h5");
  const Group root = file.root();
  const Dataset cube = root.group("deep").read("er/cube");
  EXPECT_EQ(cube.shape, (std::vector<int64_t>{2, 3, 2}));
  EXPECT_EQ(std::get<Doubles>(cube.values)[11], -1e-300);
  EXPECT_EQ(std::get<Integers>(root.read("numbers").values), (Integers{INT64_MIN, 0, INT64_MAX}));
  EXPECT_EQ(std::get<Texts>(root.read("words").values), (Texts{"", "h\xC3\xA9"}));
  EXPECT_EQ(root.read("scalar").shape, std::vector<int64_t>{});
  EXPECT_EQ(std::get<Doubles>(root.read("none").values), Doubles{});
  EXPECT_EQ(std::get<int64_t>(*root.attribute("i")), -5);
  EXPECT_EQ(std::get<double>(*root.attribute("d")), 0.1);
  EXPECT_EQ(std::get<std::string>(*root.attribute("t")), "again");
  EXPECT_FALSE(root.attribute("absent").has_value());
  EXPECT_EQ(root.attribute_names(), (std::vector<std::string>{"d", "i", "t"}));
  const Shape shape = root.shape("deep/er/cube");
  EXPECT_EQ(shape.units, "ms");
  EXPECT_EQ(shape.type, 'f');
  EXPECT_TRUE(root.is_group("deep/er"));
  EXPECT_FALSE(root.is_group("scalar"));
  EXPECT_FALSE(root.has("deep/other/cube"));
}

TEST(Hdf5, DatasetsOfOneGroupShareNamedScales) {
  File file = File::create_in_memory("m.h5");
  const Group root = file.root();
  root.write("g/item", {{2}, Texts{"a", "b"}}, {"1", "its own scale", {"item"}});
  root.write("g/value", {{2}, Doubles{1, 2}}, {"ms", "over item", {"item"}});
  root.write("g/row_value", {{3}, Doubles{1, 2, 3}}, {"ms", "over row", {"row"}});
  EXPECT_THROW(root.write("g/longer", {{3}, Doubles{1, 2, 3}}, {"ms", "", {"item"}}), Error);
  const hid_t id = H5Fopen("m.h5", H5F_ACC_RDONLY, H5P_DEFAULT);
  EXPECT_LT(id, 0) << "a file in memory must leave nothing on disk";
  const TemporaryFolder folder;
  std::ofstream(folder / "m.h5", std::ios::binary) << file.image();
  const hid_t again = H5Fopen((folder / "m.h5").c_str(), H5F_ACC_RDONLY, H5P_DEFAULT);
  const hid_t value = H5Dopen2(again, "g/value", H5P_DEFAULT);
  const hid_t item = H5Dopen2(again, "g/item", H5P_DEFAULT);
  const hid_t row = H5Dopen2(again, "g/row", H5P_DEFAULT);
  EXPECT_GT(H5DSis_scale(item), 0);
  EXPECT_GT(H5DSis_scale(row), 0);
  EXPECT_GT(H5DSis_attached(value, item, 0), 0);
  EXPECT_EQ(H5DSis_attached(value, row, 0), 0);
  for (const hid_t dataset : {value, item, row}) H5Dclose(dataset);
  H5Fclose(again);
}

TEST(Hdf5, LongDatasetsAreDeflated) {
  File file = File::create_in_memory("m.h5");
  file.root().write("zeros", {{100'000}, Doubles(100'000, 0.0)}, {"1", "", {"n"}});
  EXPECT_LT(file.image().size(),
            300'000u);  // 800 kB of zeros and as many of indices, before deflate
}

TEST(Hdf5, ExternalLinksReachAnotherFile) {
  const TemporaryFolder folder;
  {
    File run = File::create(folder / "run.h5");
    run.root().write("x", {{1}, Doubles{42}}, {"1", "", {"n"}});
    run.close();
    File index = File::create(folder / "index.h5");
    index.root().external_link("runs/C0/r0", "run.h5", "/");
    index.close();
  }
  File index = File::open(folder / "index.h5");
  const std::vector<Link> links = index.root().group("runs/C0").links();
  ASSERT_EQ(links.size(), 1u);
  EXPECT_EQ(links[0].name, "r0");
  EXPECT_EQ(links[0].kind, LinkKind::external);
  EXPECT_FALSE(index.root().has("runs/C0/r0/x")) << "has() stays inside the file";
  index.close();
  const hid_t id = H5Fopen((folder / "index.h5").c_str(), H5F_ACC_RDONLY, H5P_DEFAULT);
  const hid_t x = H5Dopen2(id, "runs/C0/r0/x", H5P_DEFAULT);
  EXPECT_GE(x, 0);
  H5Dclose(x);
  H5Fclose(id);
}

TEST(Hdf5, ErrorsNameFileAndObject) {
  const TemporaryFolder folder;
  EXPECT_NE(message_of([&] { File::open(folder / "no.h5"); }).find("no.h5"), std::string::npos);
  EXPECT_NE(message_of([&] { File::create(folder / "no" / "where.h5"); }).find("where.h5"),
            std::string::npos);
  File file = File::create_in_memory("name.h5");
  const std::string missing = message_of([&] { file.root().group("g").read("absent"); });
  EXPECT_NE(missing.find("name.h5:/g/absent"), std::string::npos) << missing;
  EXPECT_NE(missing.find("HDF5:"), std::string::npos) << missing;
  EXPECT_NE(message_of([] { File::open_image("not HDF5 at all", "text.h5"); }).find("text.h5"),
            std::string::npos);
}

TEST(Hdf5, ReadsAreBounded) {
  File file = File::create_in_memory("m.h5");
  const Group root = file.root();
  root.write("x", {{100}, Doubles(100, 1.0)}, {"1", "", {"n"}});
  root.write("t", {{2}, Texts{std::string(600, 'a'), std::string(600, 'b')}}, {"1", "", {"t"}});
  Limits limits;
  limits.values = 99;
  EXPECT_THROW(root.read("x", limits), Error);
  limits = {};
  limits.text_bytes = 1000;
  EXPECT_THROW(root.read("t", limits), Error);
  limits = {};
  limits.texts = 1;
  EXPECT_THROW(root.read("t", limits), Error);
  limits = {};
  limits.links = 2;  // x, its scale n, t
  EXPECT_THROW(root.links(limits), Error);
}

// A dataset that declares 2^40 values but stores none must not be believed.
TEST(Hdf5, DeclaredSizesAreNotBelieved) {
  const TemporaryFolder folder;
  const std::string name = folder / "sparse.h5";
  const hid_t file = H5Fcreate(name.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  const hsize_t extent = hsize_t{1} << 40, chunk = hsize_t{1} << 28;
  const hid_t space = H5Screate_simple(1, &extent, nullptr);
  const hid_t list = H5Pcreate(H5P_DATASET_CREATE);
  H5Pset_chunk(list, 1, &chunk);
  H5Dclose(H5Dcreate2(file, "x", H5T_NATIVE_DOUBLE, space, H5P_DEFAULT, list, H5P_DEFAULT));
  H5Pclose(list);
  H5Sclose(space);
  H5Fclose(file);
  EXPECT_NE(message_of([&] { File::open(name).root().read("x"); }).find("too many values"),
            std::string::npos);
}

// A string lies in the file once, and each value names it by 16 bytes: 3 MB that say 200 MB. They
// are refused before the library has made its copies.
TEST(Hdf5, OneTextNamedManyTimesIsCountedEachTime) {
  constexpr hsize_t count = 200'000;
  constexpr size_t reference = 16;  // length, address and index of a string
  const TemporaryFolder folder;
  const std::string name = folder / "echo.h5";
  const hid_t file = H5Fcreate(name.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  const hid_t space = H5Screate_simple(1, &count, nullptr);
  const hid_t type = H5Tcopy(H5T_C_S1);
  H5Tset_size(type, H5T_VARIABLE);
  H5Tset_cset(type, H5T_CSET_UTF8);
  const hid_t set = H5Dcreate2(file, "x", type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  const std::string text(1000, 'a');
  std::vector<const char*> texts(count, nullptr);
  texts[0] = text.c_str();
  ASSERT_GE(H5Dwrite(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, texts.data()), 0);
  const auto begin = static_cast<size_t>(H5Dget_offset(set));
  H5Dclose(set);
  H5Tclose(type);
  H5Sclose(space);
  H5Fclose(file);
  std::string bytes = read_file(name, 1 << 28);
  const std::string first = bytes.substr(begin, reference);
  for (size_t i = 1; i < count; ++i) bytes.replace(begin + i * reference, reference, first);
  const File echo = File::open_image(bytes, "echo.h5");
  EXPECT_NE(message_of([&] { echo.root().read("x"); }).find("too much text"), std::string::npos);
  Limits limits;
  limits.text_bytes = count * (text.size() + 1);
  const Dataset read = echo.root().read("x", limits);
  EXPECT_EQ(std::get<Texts>(read.values).back(), text);
}

TEST(Hdf5, ValuesOutsideTheFileAreRefused) {
  const TemporaryFolder folder;
  std::ofstream(folder / "secret") << "0123456789abcdef";
  const std::string name = folder / "outside.h5";
  const hid_t file = H5Fcreate(name.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  const hsize_t extent = 2;
  const hid_t space = H5Screate_simple(1, &extent, nullptr);
  const hid_t list = H5Pcreate(H5P_DATASET_CREATE);
  H5Pset_external(list, (folder / "secret").c_str(), 0, 16);
  H5Dclose(H5Dcreate2(file, "x", H5T_NATIVE_INT64, space, H5P_DEFAULT, list, H5P_DEFAULT));
  H5Pclose(list);
  H5Sclose(space);
  H5Fclose(file);
  EXPECT_NE(message_of([&] { File::open(name).root().read("x"); }).find("outside the file"),
            std::string::npos);
}

}  // namespace
}  // namespace qsweep::record::hdf5
