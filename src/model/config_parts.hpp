// Pieces of reading config.json shared by its .cpp files: JSON as Python writes it, bounded
// numbers, rope keys.
#pragma once

#include <optional>
#include <string>

#include "model/config.hpp"
#include "model/tokenizer/strict_json.hpp"

namespace qsweep::model {

using tok::Place;

// Bare Infinity, -Infinity and NaN outside strings become {"__float__": "..."}, which is JSON.
std::string python_json(const std::string& text);

// A finite number in [low, high]; `config` names the place in the fault.
double number(const Place& place, double low, double high);
double number_or(const Place& config, const char* key, double fallback, double low, double high);

// The rope keys in the published form (rope_theta, rope_scaling) or the newer one
// (rope_parameters). `model` gives head_dim and max_positions.
RopeConfig parse_rope(const Place& config, const ModelConfig& model);

// sqrt(1 + ln(factor) / ln(original)), factor = max / original; 1 where nothing is extended.
double longrope_attention_factor(int64_t max_positions, int64_t original_max_positions);

}  // namespace qsweep::model
