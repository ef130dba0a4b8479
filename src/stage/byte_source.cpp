#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>

#include "base/files.hpp"
#include "stage/archive.hpp"

namespace qsweep::stage {

ByteSource source_of_file(const std::filesystem::path& path) {
  const auto file = std::make_shared<RegularFile>(path);
  return {path.string(), file->size(), [file](uint64_t begin, uint64_t size) {
            std::string bytes(size, '\0');
            size_t done = 0;
            while (done < bytes.size()) {
              const ssize_t n = ::pread(file->descriptor(), bytes.data() + done,
                                        bytes.size() - done, static_cast<off_t>(begin + done));
              if (n < 0 && errno == EINTR) continue;
              if (n < 0) throw_io("cannot read", file->path(), errno);
              if (n == 0) break;
              done += static_cast<size_t>(n);
            }
            bytes.resize(done);
            return bytes;
          }};
}

}  // namespace qsweep::stage
