// Prefix sums of counts that change, in O(log n) each (Fenwick 1994).
#pragma once

#include <cstddef>
#include <vector>

namespace qsweep {

class Fenwick {
 public:
  Fenwick() = default;
  // n ones.
  explicit Fenwick(size_t n) : tree_(n + 1, 0) {
    for (size_t i = 1; i <= n; ++i) tree_[i] = i & (~i + 1);
  }
  void remove(size_t i) {
    for (++i; i < tree_.size(); i += i & (~i + 1)) --tree_[i];
  }
  // Sum over [0, end).
  size_t before(size_t end) const {
    size_t sum = 0;
    for (; end > 0; end -= end & (~end + 1)) sum += tree_[end];
    return sum;
  }

 private:
  std::vector<size_t> tree_;
};

}  // namespace qsweep
