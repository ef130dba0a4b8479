// Overrides: "repeats=5", "workloads.profile.warmup=2", "configs.C4.weights.group=64".
#include <algorithm>
#include <charconv>

#include "sweep/grammar/tree.hpp"

namespace qsweep::sweep::grammar {
namespace {

constexpr size_t max_assignment = 4096;

std::vector<std::string> keys_of(const Node& map) {
  std::vector<std::string> keys;
  for (const Entry& entry : map.entries) keys.push_back(entry.key);
  return keys;
}

// The entry whose key begins `path` and is followed by '.' or the end; the longest, since keys may
// hold dots.
Entry* entry_at(Node& map, const std::string& path) {
  Entry* best = nullptr;
  for (Entry& entry : map.entries) {
    const bool begins = path.starts_with(entry.key) &&
                        (path.size() == entry.key.size() || path[entry.key.size()] == '.');
    if (begins && (best == nullptr || entry.key.size() > best->key.size())) best = &entry;
  }
  return best;
}

Node* item_at(Node& list, const std::string& index) {
  size_t i = 0;
  const auto [end, code] = std::from_chars(index.data(), index.data() + index.size(), i);
  const bool whole = code == std::errc() && end == index.data() + index.size();
  return whole && i < list.items.size() ? &list.items[i] : nullptr;
}

// Steps into `node` along the head of `path` and shortens it; nullptr where nothing is there.
Node* step(Node& node, std::string& path) {
  if (node.is_map()) {
    Entry* entry = entry_at(node, path);
    if (entry == nullptr) return nullptr;
    path.erase(0, std::min(path.size(), entry->key.size() + 1));
    return &entry->value;
  }
  const std::string head = path.substr(0, path.find('.'));
  Node* item = node.is_list() ? item_at(node, head) : nullptr;
  if (item != nullptr) path.erase(0, std::min(path.size(), head.size() + 1));
  return item;
}

}  // namespace

void apply_override(Node& root, const std::string& assignment, Faults& faults) {
  const size_t equals = assignment.find('=');
  const Place place{faults.add_source("--set " + assignment.substr(0, 200)), 0, 0};
  if (equals == std::string::npos || equals == 0 || assignment.size() > max_assignment) {
    faults.add(place, "not an override", "key=value is expected", "for example --set repeats=5");
    return;
  }
  Node value = parse_tree(assignment.substr(equals + 1), place.source, faults);
  value.place = place;
  std::string path = assignment.substr(0, equals);
  if (root.is_null()) root.kind = Node::Kind::map;
  Node* node = &root;
  while (Node* next = step(*node, path)) {
    node = next;
    if (path.empty()) {
      *node = std::move(value);
      return;
    }
  }
  const std::string head = path.substr(0, path.find('.'));
  if (node->is_null())
    node->kind = Node::Kind::map;  // `C0:` with nothing under it takes its first key
  if (node->is_map() && path.find('.') == std::string::npos) {
    node->entries.push_back(
        {path, place, std::move(value)});  // the grammar says whether the key exists
    return;
  }
  if (node->is_map()) {
    faults.add(place, "there is no '" + head + "' in the study",
               "an override changes what is there", suggest_word(head, keys_of(*node)));
  } else {
    faults.add(place, "'" + head + "' leads nowhere", "found " + describe(*node),
               "set the whole value, or write it in its long form in the study");
  }
}

}  // namespace qsweep::sweep::grammar
