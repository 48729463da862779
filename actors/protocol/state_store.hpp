// state_store: the only writer of state.db. One detached actor; a batch is one transaction; batches that wait together
// are committed together (group commit) and answered after the commit.
#pragma once
#include "actors/protocol/message.hpp"

namespace arca {

/// Which table a row belongs to; persistence/store/schema.hpp has the columns.
enum class table : uint8_t { containers, images, references, networks, endpoints, volumes, leases };
std::string to_string(table t);

/// One row put or removed. `key` is the primary key; `unique` a second unique column where the table has one
/// (containers and networks and volumes: the name; endpoints: "NETWORK_ID/ADDRESS"); `document` the row's JSON.
struct row_change {
  table in = table::containers;
  bool erase = false;
  std::string key, unique, document;
  ARCA_MESSAGE(row_change, in, erase, key, unique, document)
};

/// All or nothing. With `durable`, on disk before the answer (synchronous=FULL); else safe against any crash of a
/// process.
struct commit_rows {
  std::vector<row_change> changes;
  bool durable = false;
  ARCA_MESSAGE(commit_rows, changes, durable)
};

struct stored_row {
  std::string key, unique, document;
  ARCA_MESSAGE(stored_row, key, unique, document)
};
struct load_rows {
  table from = table::containers;
  ARCA_MESSAGE(load_rows, from)
};
struct loaded_rows {
  std::vector<stored_row> rows;
  ARCA_MESSAGE(loaded_rows, rows)
};

using state_store_actor = caf::typed_actor<caf::replies_to<commit_rows>::with<void>,  // errc::conflict: not unique
                                           caf::replies_to<load_rows>::with<loaded_rows>>;
}  // namespace arca

CAF_BEGIN_TYPE_ID_BLOCK(arca_store, caf::first_custom_type_id)
CAF_ADD_TYPE_ID(arca_store, (arca::table))
CAF_ADD_TYPE_ID(arca_store, (arca::row_change))
CAF_ADD_TYPE_ID(arca_store, (std::vector<arca::row_change>))
CAF_ADD_TYPE_ID(arca_store, (arca::commit_rows))
CAF_ADD_TYPE_ID(arca_store, (arca::stored_row))
CAF_ADD_TYPE_ID(arca_store, (std::vector<arca::stored_row>))
CAF_ADD_TYPE_ID(arca_store, (arca::load_rows))
CAF_ADD_TYPE_ID(arca_store, (arca::loaded_rows))
CAF_END_TYPE_ID_BLOCK(arca_store)
