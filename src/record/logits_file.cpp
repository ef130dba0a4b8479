#include "record/logits_file.hpp"

#include <hdf5.h>

#include "base/error.hpp"
#include "base/files.hpp"
#include "record/hdf5.hpp"

namespace qsweep::record {

void write_logits(const std::filesystem::path& file, const float* logits, int64_t rows,
                  int64_t cols) {
  write_atomic(file, [&](const std::filesystem::path& temporary) {
    {
      // Labels first through the common path, which knows units and dimension scales.
      auto created = hdf5::File::create(temporary);
      created.root().set_attribute("content", std::string("logits of a prompt"));
      created.close();
    }
    const hdf5::Handle handle(H5Fopen(temporary.c_str(), H5F_ACC_RDWR, H5P_DEFAULT));
    const hsize_t extent[2] = {static_cast<hsize_t>(rows), static_cast<hsize_t>(cols)};
    const hdf5::Handle space(H5Screate_simple(2, extent, nullptr));
    const hdf5::Handle set(H5Dcreate2(handle.get(), "logits", H5T_IEEE_F32LE, space.get(),
                                      H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
    if (set.get() < 0 ||
        H5Dwrite(set.get(), H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, logits) < 0) {
      throw Error(ErrorKind::io, "cannot write " + file.string(), "HDF5 refused /logits");
    }
  });
}

}  // namespace qsweep::record
