// What a made checkpoint holds: the tensors of a shape under the names that transformers gives
// them, and how their values are spread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/config.hpp"

namespace qsweep::model {

// normal: N(0, scale^2). constant: scale. uniform: in [-scale, scale). The two of a Mamba-2 mixer
// are spread as its published code begins with: decay_log: log of uniform [1, 16); step_bias: the
// inverse of softplus of a step that is log-uniform in [0.001, 0.1).
enum class Spread { normal, constant, uniform, decay_log, step_bias };

struct MadeTensor {
  std::string name;
  std::vector<int64_t> shape;
  Spread spread = Spread::normal;
  double scale = 0;
  int64_t elements() const;
};

std::vector<MadeTensor> made_tensors(const ModelConfig& config);
// 65536 quantiles of the tensor's values in order, as bf16: a uniform 16-bit number picks one.
std::vector<uint16_t> value_table(const MadeTensor& tensor);

}  // namespace qsweep::model
