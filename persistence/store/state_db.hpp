// state.db: what the engine must not forget, in SQLite. One row is one JSON document with a key and, where its table
// has one, a second value that no other row may have. One thread uses a state_db at a time (the state_store actor).
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "persistence/base/error.hpp"

struct sqlite3;

namespace arca::store {

/// Mirrors arca::table of actors/protocol/state_store.hpp, in the same order.
enum class table : uint8_t { containers, images, references, networks, endpoints, volumes, leases };
std::string_view to_string(table t) noexcept;

/// A stored row. `unique` is empty where the row has none; empty values never collide.
struct row {
  std::string key, unique, document;
};

/// One row put (inserted or replaced by key) or, with `erase`, removed by key. Removing what is missing is no error.
struct row_change {
  table in = table::containers;
  bool erase = false;
  std::string key, unique, document;
};

/// All or nothing. `durable`: on disk before the answer; else safe against the crash of any process.
struct batch {
  std::vector<row_change> changes;
  bool durable = false;
};

class state_db {
 public:
  /// Opens or makes the file (mode 0600) and brings its schema up to date. A file that is no healthy database is
  /// renamed to PATH.corrupt-TIME with a log line and a fresh one is made. errc::conflict: the schema is newer than
  /// this program; nothing is touched then.
  static result<state_db> open(const std::string& path);

  state_db(state_db&&) noexcept;
  state_db& operator=(state_db&&) noexcept;
  ~state_db();

  /// One transaction. errc::conflict: a UNIQUE value belongs to another row; nothing of the batch is stored then.
  result<void> commit(const std::vector<row_change>& changes, bool durable = false);
  /// Group commit: one transaction, one result per batch. A batch that fails leaves nothing; the others are stored.
  /// When the common commit fails, every batch reports that.
  std::vector<result<void>> commit(const std::vector<batch>& batches);

  /// Every row of a table, ordered by key.
  result<std::vector<row>> load(table from);

 private:
  struct impl;
  explicit state_db(std::unique_ptr<impl> self);
  std::unique_ptr<impl> self_;
};

}  // namespace arca::store
