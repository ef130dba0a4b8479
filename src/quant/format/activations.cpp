#include "quant/format/activations.hpp"

namespace qsweep::quant {

std::string to_string(const ActivationFormat& format) {
  if (format.id == ActivationId::none) return {};
  const std::string id(name_of(format.id));
  return has_scales(format.id) ? id + "_" + std::string(name_of(format.scale)) : id;
}

}  // namespace qsweep::quant
