// Attributes and datasets, read within bounds from files that may be hostile.
#include <algorithm>
#include <memory>
#include <vector>

#include "record/hdf5_detail.hpp"

namespace qsweep::record::hdf5 {
namespace {

constexpr int max_rank = 8;
constexpr ErrorKind bad = ErrorKind::invalid_input;

// 'i', 'f', 's' of variable length, or '?' for what is not read here.
char type_letter(hid_t type) {
  switch (H5Tget_class(type)) {
    case H5T_INTEGER:
      return H5Tget_size(type) <= 8 ? 'i' : '?';
    case H5T_FLOAT:
      return H5Tget_size(type) <= 8 ? 'f' : '?';
    case H5T_STRING:
      return H5Tis_variable_str(type) > 0 ? 's' : '?';
    default:
      return '?';
  }
}

std::vector<int64_t> extent_of(hid_t space, const std::string& where) {
  const int rank = H5Sget_simple_extent_ndims(space);
  const H5S_class_t kind = H5Sget_simple_extent_type(space);
  if (rank < 0 || rank > max_rank || (kind != H5S_SCALAR && kind != H5S_SIMPLE)) {
    throw_invalid("unreadable shape of " + where,
                  "rank " + std::to_string(rank) + ", at most " + std::to_string(max_rank));
  }
  std::vector<hsize_t> extent(static_cast<size_t>(rank));
  if (rank > 0) H5Sget_simple_extent_dims(space, extent.data(), nullptr);
  return {extent.begin(), extent.end()};
}

// Product of the extents, or an Error where it passes `limit`.
uint64_t count_values(const std::vector<int64_t>& extent, uint64_t limit,
                      const std::string& where) {
  uint64_t count = 1;
  for (const int64_t length : extent) {
    const auto n = static_cast<uint64_t>(length);
    if (n != 0 && count > limit / n) {
      throw_invalid("too many values in " + where, "more than " + std::to_string(limit));
    }
    count *= n;
  }
  return count;
}

// Only storage inside the file, in chunks that fit the bound, and filters that the library itself
// has.
void check_storage(hid_t dataset, const Limits& limits, const std::string& where) {
  const Handle list(H5Dget_create_plist(dataset));
  if (list.get() < 0) fail(bad, "cannot read the storage of", where);
  const H5D_layout_t layout = H5Pget_layout(list.get());
  if ((layout != H5D_COMPACT && layout != H5D_CONTIGUOUS && layout != H5D_CHUNKED) ||
      H5Pget_external_count(list.get()) != 0) {
    throw_invalid("refused storage of " + where, "its values lie outside the file");
  }
  if (layout == H5D_CHUNKED) {
    hsize_t chunk[max_rank] = {};
    const int rank = H5Pget_chunk(list.get(), max_rank, chunk);
    if (rank < 0 || rank > max_rank) fail(bad, "unreadable chunks of", where);
    count_values({chunk, chunk + rank}, limits.values, where + " (a chunk)");
  }
  const int filters = H5Pget_nfilters(list.get());
  for (int i = 0; i < filters; ++i) {
    unsigned flags = 0;
    size_t parameters = 0;
    const H5Z_filter_t filter = H5Pget_filter2(list.get(), static_cast<unsigned>(i), &flags,
                                               &parameters, nullptr, 0, nullptr, nullptr);
    if (filter != H5Z_FILTER_DEFLATE && filter != H5Z_FILTER_SHUFFLE &&
        filter != H5Z_FILTER_FLETCHER32) {
      throw_invalid("refused filter of " + where, "only deflate, shuffle and fletcher32 are read");
    }
  }
}

void reclaim(hid_t type, hid_t space, void* values) {
#if H5_VERSION_GE(1, 12, 0)
  H5Treclaim(type, space, H5P_DEFAULT, values);
#else
  H5Dvlen_reclaim(type, space, H5P_DEFAULT, values);
#endif
}

[[noreturn]] void too_much_text(const Limits& limits, const std::string& where) {
  throw_invalid("too much text in " + where,
                "more than " + std::to_string(limits.text_bytes) + " bytes");
}

// The strings that the library reads, within a bound: a small file may name one long string a
// million times, and the library would make a copy of each before anybody could count them.
class TextRoom {
 public:
  // For `count` texts. Left to itself the library clears a megabyte for every such read, more than
  // all the text of a record; 16 bytes a value are what a length and a place in the file take.
  TextRoom(uint64_t bytes, uint64_t count) : left_(bytes), list_(H5Pcreate(H5P_DATASET_XFER)) {
    constexpr uint64_t value_bytes = 16, most = uint64_t{1} << 20;
    H5Pset_buffer(list_.get(), std::clamp(count * value_bytes, value_bytes, most), nullptr,
                  nullptr);
    H5Pset_vlen_mem_manager(list_.get(), take, this, give_back, nullptr);
  }
  TextRoom(const TextRoom&) = delete;
  TextRoom& operator=(const TextRoom&) = delete;
  hid_t list() const { return list_.get(); }
  bool full() const { return full_; }

 private:
  static void* take(size_t bytes, void* self) {
    auto& room = *static_cast<TextRoom*>(self);
    room.full_ = room.full_ || bytes > room.left_;
    if (room.full_) return nullptr;
    room.left_ -= bytes;
    try {
      return room.texts_.emplace_back(new char[bytes]).get();
    } catch (const std::bad_alloc&) {
      return nullptr;
    }
  }
  static void give_back(void*, void*) {}  // all at once, at the end

  uint64_t left_;
  bool full_ = false;
  Handle list_;
  std::vector<std::unique_ptr<char[]>> texts_;
};

std::vector<std::string> read_texts(hid_t dataset, uint64_t count, const Limits& limits,
                                    const std::string& where) {
  if (count == 0) return {};
  if (count > limits.texts) {
    throw_invalid("too many texts in " + where,
                  std::to_string(count) + ", at most " + std::to_string(limits.texts));
  }
  const Handle type = text_type();
  TextRoom room(limits.text_bytes, count);
  std::vector<const char*> raw(count, nullptr);
  const herr_t code = H5Dread(dataset, type.get(), H5S_ALL, H5S_ALL, room.list(), raw.data());
  if (room.full()) too_much_text(limits, where);
  check(code, bad, "cannot read", where);
  std::vector<std::string> texts;
  texts.reserve(count);
  for (const char* text : raw) texts.emplace_back(text != nullptr ? text : "");
  return texts;
}

// An attribute has no room of its own to give; its one string is at most as long as the file.
std::string read_text(hid_t attribute, hid_t space, const Limits& limits,
                      const std::string& where) {
  const Handle type = text_type();
  char* raw = nullptr;
  check(H5Aread(attribute, type.get(), &raw), bad, "cannot read", where);
  const std::string text = raw != nullptr ? raw : "";
  reclaim(type.get(), space, &raw);
  if (text.size() > limits.text_bytes) too_much_text(limits, where);
  return text;
}

struct OpenDataset {
  Handle dataset, type, space;
  std::vector<int64_t> extent;
};

OpenDataset open_dataset(hid_t parent, const std::string& path, const std::string& where) {
  OpenDataset open;
  open.dataset = Handle(H5Dopen2(parent, path.c_str(), H5P_DEFAULT));
  if (open.dataset.get() < 0) fail(bad, "no readable dataset", where);
  open.type = Handle(H5Dget_type(open.dataset.get()));
  open.space = Handle(H5Dget_space(open.dataset.get()));
  if (open.type.get() < 0 || open.space.get() < 0) fail(bad, "cannot read the shape of", where);
  open.extent = extent_of(open.space.get(), where);
  return open;
}

std::optional<Attribute> read_attribute(hid_t object, const std::string& name, const Limits& limits,
                                        const std::string& where) {
  const htri_t exists = H5Aexists(object, name.c_str());
  if (exists < 0) fail(bad, "cannot read the attributes of", where);
  if (exists == 0) return std::nullopt;
  const std::string place = "attribute " + name + " of " + where;
  const Handle attribute(H5Aopen(object, name.c_str(), H5P_DEFAULT));
  if (attribute.get() < 0) fail(bad, "cannot open", place);
  const Handle type(H5Aget_type(attribute.get())), space(H5Aget_space(attribute.get()));
  if (count_values(extent_of(space.get(), place), 1, place) != 1) {
    throw_invalid("unreadable " + place, "one value is expected");
  }
  switch (type_letter(type.get())) {
    case 'i': {
      int64_t value = 0;
      check(H5Aread(attribute.get(), integer_type(), &value), bad, "cannot read", place);
      return value;
    }
    case 'f': {
      double value = 0;
      check(H5Aread(attribute.get(), real_type(), &value), bad, "cannot read", place);
      return value;
    }
    case 's':
      return read_text(attribute.get(), space.get(), limits, place);
    default:
      throw_invalid("unreadable " + place, "not an integer, float or variable-length string");
  }
}

std::string text_attribute(hid_t object, const std::string& name, const Limits& limits,
                           const std::string& where) {
  const std::optional<Attribute> value = read_attribute(object, name, limits, where);
  const std::string* text = value ? std::get_if<std::string>(&*value) : nullptr;
  return text != nullptr ? *text : std::string();
}

}  // namespace

std::optional<Attribute> Group::attribute(const std::string& name, const Limits& limits) const {
  return read_attribute(handle_.get(), name, limits, where());
}

std::vector<std::string> Group::attribute_names() const {
  std::vector<std::string> names;
  hsize_t index = 0;
  const auto keep = [](hid_t, const char* name, const H5A_info_t*, void* out) -> herr_t {
    static_cast<std::vector<std::string>*>(out)->emplace_back(name);
    return 0;
  };
  check(H5Aiterate2(handle_.get(), H5_INDEX_NAME, H5_ITER_INC, &index, keep, &names), bad,
        "cannot list the attributes of", where());
  return names;
}

Dataset Group::read(const std::string& path, const Limits& limits) const {
  const std::string place = where(path);
  const OpenDataset open = open_dataset(handle_.get(), path, place);
  const hid_t id = open.dataset.get();
  const uint64_t count = count_values(open.extent, limits.values, place);
  check_storage(id, limits, place);
  Dataset data;
  data.shape = open.extent;
  const auto numbers = [&](auto example, hid_t memory) {
    std::vector<decltype(example)> values(count);
    if (count > 0) {
      check(H5Dread(id, memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()), bad, "cannot read",
            place);
    }
    data.values = std::move(values);
  };
  switch (type_letter(open.type.get())) {
    case 'i':
      numbers(int64_t{}, integer_type());
      break;
    case 'f':
      numbers(double{}, real_type());
      break;
    case 's':
      data.values = read_texts(id, count, limits, place);
      break;
    default:
      throw_invalid("unreadable type of " + place,
                    "not an integer, float or variable-length string");
  }
  return data;
}

Shape Group::shape(const std::string& path, const Limits& limits) const {
  const std::string place = where(path);
  const OpenDataset open = open_dataset(handle_.get(), path, place);
  return {open.extent, type_letter(open.type.get()),
          text_attribute(open.dataset.get(), "units", limits, place),
          text_attribute(open.dataset.get(), "long_name", limits, place)};
}

}  // namespace qsweep::record::hdf5
