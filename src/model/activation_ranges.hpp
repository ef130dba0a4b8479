// Largest magnitudes of what enters each linear of an unquantized model: static scales of
// activations come from them.
#pragma once

#include <functional>
#include <span>

#include "model/model.hpp"

namespace qsweep::model {

// Over all sequences, each from an empty state. The bits do not depend on threads. Throws
// Error{invalid_input} where an input is not finite; check_stop is called before each sequence.
ActivationRanges measure_activation_ranges(
    const device::Context& context, Model& model,
    std::span<const std::span<const int32_t>> sequences,
    const std::function<void()>& check_stop = [] {});

}  // namespace qsweep::model
