// The YAML of a study as a tree that remembers where everything stood. Built from the parser's
// events, so that what a value tree would hide is seen: duplicate keys, aliases, tags, depth.
#pragma once

#include <string>
#include <vector>

#include "sweep/grammar/faults.hpp"

namespace qsweep::sweep::grammar {

struct Entry;

struct Node {
  enum class Kind { null, scalar, list, map };
  Kind kind = Kind::null;
  std::string text;  // scalar, as written without quotes
  Place place;
  std::vector<Node> items;     // list
  std::vector<Entry> entries;  // map, in file order

  bool is_null() const { return kind == Kind::null; }
  bool is_scalar() const { return kind == Kind::scalar; }
  bool is_list() const { return kind == Kind::list; }
  bool is_map() const { return kind == Kind::map; }
  bool is_empty() const;                           // nothing, or a map without keys
  const Node* find(const std::string& key) const;  // map entry, or nullptr
};

struct Entry {
  std::string key;
  Place place;  // of the key
  Node value;
};

inline constexpr size_t max_document_bytes = 1 << 20;
inline constexpr int max_depth = 32;

// One document; every fault of form goes into `faults`. `source` as given by Faults::add_source.
Node parse_tree(const std::string& yaml, int source, Faults& faults);

// Applies "path.to.key=value" (the value is YAML): every component but the last must be there;
// numbers index lists; a key that has dots itself is found too.
void apply_override(Node& root, const std::string& assignment, Faults& faults);

// "a map", "a list", "'text'", "nothing": what a node is, for messages.
std::string describe(const Node& node);

}  // namespace qsweep::sweep::grammar
