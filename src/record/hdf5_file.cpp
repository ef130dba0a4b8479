// Files on disk and in memory, handles, groups and links.
#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <mutex>

#include "record/hdf5_detail.hpp"

namespace qsweep::record::hdf5 {
namespace fs = std::filesystem;
namespace {

constexpr size_t core_increment = size_t{1} << 16;  // bytes by which a file in memory grows

herr_t keep_innermost(unsigned, const H5E_error2_t* entry, void* out) {
  *static_cast<std::string*>(out) = entry->desc != nullptr ? entry->desc : "";
  return 0;
}

Handle access_list(bool locking) {
  Handle list(H5Pcreate(H5P_FILE_ACCESS));
  H5Pset_libver_bounds(list.get(), H5F_LIBVER_EARLIEST, H5F_LIBVER_V110);
  H5Pset_fclose_degree(list.get(), H5F_CLOSE_STRONG);
#if H5_VERSION_GE(1, 10, 7)
  H5Pset_file_locking(list.get(), locking, true);
#else
  if (!locking) ::setenv("HDF5_USE_FILE_LOCKING", "FALSE", 1);
#endif
  return list;
}

Handle core_list() {
  Handle list = access_list(false);
  H5Pset_fapl_core(list.get(), core_increment, false);
  return list;
}

// The library wants a name that no file has, even for a file in memory: nothing can lie below
// /dev/null.
std::string memory_name() {
  static std::atomic<unsigned> counter{0};
  return "/dev/null/" + std::to_string(counter++);
}

// Runs `open` with locking, and where that fails, without.
template <class Open>
Handle with_or_without_locks(Open open) {
  for (const bool locking : {true, false}) {
    const Handle list = access_list(locking);
    Handle file(open(list.get()));
    if (file.get() >= 0) return file;
  }
  return Handle();
}

LinkKind kind_of(H5L_type_t type) {
  return type == H5L_TYPE_HARD   ? LinkKind::hard
         : type == H5L_TYPE_SOFT ? LinkKind::soft
                                 : LinkKind::external;
}

}  // namespace

void initialise() {
  static std::once_flag once;
  std::call_once(once, [] {
    H5open();
    H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
    H5PLset_loading_state(0);  // a file must not make the process load code
  });
}

std::string last_reason() {
  std::string reason;
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_DOWNWARD, keep_innermost, &reason);
  H5Eclear2(H5E_DEFAULT);
  return reason.empty() ? "HDF5 gives no reason" : "HDF5: " + reason;
}

Handle text_type() {
  Handle type(H5Tcopy(H5T_C_S1));
  H5Tset_size(type.get(), H5T_VARIABLE);
  H5Tset_cset(type.get(), H5T_CSET_UTF8);
  return type;
}

std::string library_version() {
  unsigned major = 0, minor = 0, release = 0;
  H5get_libversion(&major, &minor, &release);
  return std::to_string(major) + "." + std::to_string(minor) + "." + std::to_string(release);
}

Handle::~Handle() {
  if (id_ < 0) return;
  switch (H5Iget_type(id_)) {
    case H5I_FILE:
      H5Fclose(id_);
      break;
    case H5I_GROUP:
      H5Gclose(id_);
      break;
    case H5I_DATASET:
      H5Dclose(id_);
      break;
    case H5I_DATASPACE:
      H5Sclose(id_);
      break;
    case H5I_DATATYPE:
      H5Tclose(id_);
      break;
    case H5I_ATTR:
      H5Aclose(id_);
      break;
    case H5I_GENPROP_LST:
      H5Pclose(id_);
      break;
    default:
      H5Eclear2(H5E_DEFAULT);
      break;  // its file was closed before it
  }
}

Handle& Handle::operator=(Handle&& other) noexcept {
  std::swap(id_, other.id_);
  return *this;
}

File File::create(const fs::path& file) {
  initialise();
  Handle handle = with_or_without_locks(
      [&](hid_t list) { return H5Fcreate(file.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, list); });
  if (handle.get() < 0) fail(ErrorKind::io, "cannot create", file.string());
  return File(std::move(handle), file.string());
}

File File::open(const fs::path& file) {
  initialise();
  if (!fs::is_regular_file(file)) {
    throw Error(ErrorKind::io, "cannot open " + file.string(), "no such file");
  }
  Handle handle = with_or_without_locks(
      [&](hid_t list) { return H5Fopen(file.c_str(), H5F_ACC_RDONLY, list); });
  if (handle.get() < 0) fail(ErrorKind::invalid_input, "cannot open as HDF5", file.string());
  return File(std::move(handle), file.string());
}

File File::create_in_memory(const std::string& label) {
  initialise();
  const Handle list = core_list();
  Handle handle(H5Fcreate(memory_name().c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, list.get()));
  if (handle.get() < 0) fail(ErrorKind::resource, "cannot create in memory", label);
  return File(std::move(handle), label);
}

File File::open_image(std::string_view bytes, const std::string& label) {
  initialise();
  if (bytes.empty()) throw_invalid("cannot open as HDF5 " + label, "the file is empty");
  const Handle list = core_list();
  check(H5Pset_file_image(list.get(), const_cast<char*>(bytes.data()), bytes.size()),
        ErrorKind::resource, "cannot take the bytes of", label);
  Handle handle(H5Fopen(memory_name().c_str(), H5F_ACC_RDONLY, list.get()));
  if (handle.get() < 0) fail(ErrorKind::invalid_input, "cannot open as HDF5", label);
  return File(std::move(handle), label);
}

Group File::root() const {
  Handle handle(H5Gopen2(handle_.get(), "/", H5P_DEFAULT));
  if (handle.get() < 0) fail(ErrorKind::invalid_input, "no root group in", label_);
  return Group(std::move(handle), label_, "/");
}

std::string File::image() const {
  check(H5Fflush(handle_.get(), H5F_SCOPE_GLOBAL), ErrorKind::io, "cannot flush", label_);
  const ssize_t size = check(H5Fget_file_image(handle_.get(), nullptr, 0), ErrorKind::io,
                             "cannot take the bytes of", label_);
  std::string bytes(static_cast<size_t>(size), '\0');
  check(H5Fget_file_image(handle_.get(), bytes.data(), bytes.size()), ErrorKind::io,
        "cannot take the bytes of", label_);
  return bytes;
}

void File::close() {
  const hid_t id = handle_.get();
  if (id < 0) return;
  // Close through the library first: a full disk shows itself only here.
  const bool failed = H5Fflush(id, H5F_SCOPE_GLOBAL) < 0;
  const std::string reason = failed ? last_reason() : std::string();
  handle_ = Handle();
  if (failed) throw Error(ErrorKind::io, "cannot write " + label_, reason);
}

std::string Group::where(std::string_view path) const {
  std::string text = file_ + ":" + path_;
  if (!path.empty()) text.append(text.back() == '/' ? "" : "/").append(path);
  return text;
}

bool Group::has(const std::string& path) const {
  for (size_t end = path.find('/', 1);; end = path.find('/', end + 1)) {
    const std::string part = path.substr(0, end);
    H5L_info_t info;
    if (H5Lexists(handle_.get(), part.c_str(), H5P_DEFAULT) <= 0 ||
        H5Lget_info(handle_.get(), part.c_str(), &info, H5P_DEFAULT) < 0 ||
        info.type != H5L_TYPE_HARD) {
      H5Eclear2(H5E_DEFAULT);
      return false;
    }
    if (end == std::string::npos) return true;
  }
}

bool Group::is_group(const std::string& path) const {
  if (!has(path)) return false;
  const Handle object(H5Oopen(handle_.get(), path.c_str(), H5P_DEFAULT));
  if (object.get() < 0) fail(ErrorKind::invalid_input, "cannot open", where(path));
  return H5Iget_type(object.get()) == H5I_GROUP;
}

Group Group::group(const std::string& path) const {
  const bool there = has(path);
  Handle handle;
  if (there) {
    handle = Handle(H5Gopen2(handle_.get(), path.c_str(), H5P_DEFAULT));
  } else {
    const Handle list(H5Pcreate(H5P_LINK_CREATE));
    H5Pset_create_intermediate_group(list.get(), 1);
    handle = Handle(H5Gcreate2(handle_.get(), path.c_str(), list.get(), H5P_DEFAULT, H5P_DEFAULT));
  }
  if (handle.get() < 0) {
    fail(ErrorKind::invalid_input, there ? "not a readable group" : "no group", where(path));
  }
  return Group(std::move(handle), file_, path_ == "/" ? path_ + path : path_ + "/" + path);
}

std::vector<Link> Group::links(const Limits& limits) const {
  H5G_info_t info;
  check(H5Gget_info(handle_.get(), &info), ErrorKind::invalid_input, "cannot list", where());
  if (info.nlinks > limits.links) {
    throw_invalid("too many links in " + where(),
                  std::to_string(info.nlinks) + ", at most " + std::to_string(limits.links));
  }
  struct Found {
    std::vector<Link> links;
    uint64_t limit;
  } found{{}, limits.links};
  hsize_t index = 0;
  const auto keep = [](hid_t, const char* name, const H5L_info_t* link, void* out) -> herr_t {
    auto& to = *static_cast<Found*>(out);
    if (to.links.size() >= to.limit) return -1;
    to.links.push_back({name, kind_of(link->type)});
    return 0;
  };
  check(H5Literate(handle_.get(), H5_INDEX_NAME, H5_ITER_INC, &index, keep, &found),
        ErrorKind::invalid_input, "cannot list", where());
  std::ranges::sort(found.links, {}, &Link::name);
  return std::move(found.links);
}

void Group::external_link(const std::string& name, const std::string& file,
                          const std::string& object) const {
  const Handle list(H5Pcreate(H5P_LINK_CREATE));
  H5Pset_create_intermediate_group(list.get(), 1);
  check(H5Lcreate_external(file.c_str(), object.c_str(), handle_.get(), name.c_str(), list.get(),
                           H5P_DEFAULT),
        ErrorKind::io, "cannot link", where(name));
}

}  // namespace qsweep::record::hdf5
