// The `filters` query parameter, in both of Docker's forms: {"a": ["x"]} and {"a": {"x": true}}.
#pragma once
#include <map>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "persistence/base/error.hpp"

namespace arca::model {

class filters {
 public:
  /// "" is no filter. errc::invalid_argument "invalid filter: …" for what is no JSON of either form.
  static result<filters> parse(std::string_view text);
  /// errc::invalid_argument "invalid filter 'x'" for a key that is not accepted.
  result<void> validate(std::span<const std::string_view> accepted) const;

  bool empty() const { return fields_.empty(); }
  bool contains(std::string_view key) const { return fields_.find(key) != fields_.end(); }
  const std::set<std::string>& get(std::string_view key) const;  ///< values; empty set when absent
  void add(std::string key, std::string value) { fields_[std::move(key)].insert(std::move(value)); }
  void erase(std::string_view key);

  /// Docker's Args.ExactMatch: no value given, or one equals.
  bool exact_match(std::string_view key, std::string_view source) const;
  /// Args.Match: also a value that is a regular expression found in `source`.
  bool match(std::string_view key, std::string_view source) const;
  /// Args.FuzzyMatch: exact or a prefix.
  bool fuzzy_match(std::string_view key, std::string_view source) const;
  /// Args.MatchKVList: every "k" or "k=v" given is in the map (labels).
  bool match_kv(std::string_view key, const std::map<std::string, std::string>& source) const;
  /// "1", "true", "0", "false" of one value; errc::invalid_argument "invalid filter 'dangling=[x]'".
  result<bool> get_bool(std::string_view key, bool otherwise) const;

  /// {"key": ["value", …]}: what protocol messages carry.
  std::string to_json() const;

 private:
  std::map<std::string, std::set<std::string>, std::less<>> fields_;
};

/// A value given to a filter as a regular expression, with Go's meaning for what people write (RE2 subset). An
/// expression that does not compile matches nothing.
bool regex_found(const std::string& expression, std::string_view text);

/// Label filters of prune: label and label!= together.
bool labels_match(const filters& f, const std::map<std::string, std::string>& labels);

/// until=…: a duration before now ("10m"), a Unix time or an RFC 3339 time → unix nanoseconds.
/// errc::invalid_argument as prune answers for nonsense or several values.
result<int64_t> until_filter(const filters& f, int64_t now_nanos, bool& given);

}  // namespace arca::model
