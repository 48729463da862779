// The schema of state.db and how older files become it. Append a migration for a change; never edit one that shipped.
#pragma once
#include <array>
#include <string_view>

namespace arca::store {

/// Each step takes user_version from its index to the next number. `uniq` is the second unique value of a row: the name
/// of containers, networks and volumes; "NETWORK_ID/ADDRESS" of endpoints; NULL elsewhere.
inline constexpr std::array<std::string_view, 1> migrations = {R"(
CREATE TABLE containers   (key TEXT PRIMARY KEY NOT NULL, uniq TEXT UNIQUE, document TEXT NOT NULL) STRICT;
CREATE TABLE images       (key TEXT PRIMARY KEY NOT NULL, uniq TEXT UNIQUE, document TEXT NOT NULL) STRICT;
CREATE TABLE "references" (key TEXT PRIMARY KEY NOT NULL, uniq TEXT UNIQUE, document TEXT NOT NULL) STRICT;
CREATE TABLE networks     (key TEXT PRIMARY KEY NOT NULL, uniq TEXT UNIQUE, document TEXT NOT NULL) STRICT;
CREATE TABLE endpoints    (key TEXT PRIMARY KEY NOT NULL, uniq TEXT UNIQUE, document TEXT NOT NULL) STRICT;
CREATE TABLE volumes      (key TEXT PRIMARY KEY NOT NULL, uniq TEXT UNIQUE, document TEXT NOT NULL) STRICT;
CREATE TABLE leases       (key TEXT PRIMARY KEY NOT NULL, uniq TEXT UNIQUE, document TEXT NOT NULL) STRICT;
)"};

inline constexpr int schema_version = static_cast<int>(migrations.size());

}  // namespace arca::store
