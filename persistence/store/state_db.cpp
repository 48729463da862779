#include "persistence/store/state_db.hpp"

#include <fcntl.h>
#include <sqlite3.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <ctime>

#include "persistence/base/failpoint.hpp"
#include "persistence/base/fs.hpp"
#include "persistence/base/log.hpp"
#include "persistence/store/schema.hpp"

namespace arca::store {
namespace {

constexpr std::array<std::string_view, 7> table_names = {"containers", "images",  "references", "networks",
                                                         "endpoints",  "volumes", "leases"};

struct close_db {
  void operator()(sqlite3* db) const { sqlite3_close_v2(db); }
};
struct finalize {
  void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
};
using db_handle = std::unique_ptr<sqlite3, close_db>;
using statement_handle = std::unique_ptr<sqlite3_stmt, finalize>;

tl::unexpected<error> fail_sqlite(sqlite3* db, std::string_view context) {
  const errc code = sqlite3_extended_errcode(db) == SQLITE_CONSTRAINT_UNIQUE ? errc::conflict : errc::internal;
  return fail(code, "state.db: " + std::string(context) + ": " + sqlite3_errmsg(db));
}

result<void> execute(sqlite3* db, const char* sql) {
  if (sqlite3_exec(db, sql, nullptr, nullptr, nullptr) != SQLITE_OK) return fail_sqlite(db, sql);
  return {};
}

result<statement_handle> prepare(sqlite3* db, const std::string& sql) {
  sqlite3_stmt* statement = nullptr;
  if (sqlite3_prepare_v3(db, sql.c_str(), -1, SQLITE_PREPARE_PERSISTENT, &statement, nullptr) != SQLITE_OK)
    return fail_sqlite(db, sql);
  return statement_handle(statement);
}

/// Says whether SQLite's last word was that the file itself is damaged, as opposed to a disk that is full or broken.
bool is_damage(sqlite3* db) {
  const int code = sqlite3_errcode(db);
  return code == SQLITE_CORRUPT || code == SQLITE_NOTADB;
}

void bind_text(sqlite3_stmt* statement, int index, std::string_view text) {
  sqlite3_bind_text64(statement, index, text.data(), text.size(), SQLITE_STATIC, SQLITE_UTF8);
}

std::string column(sqlite3_stmt* statement, int index) {
  const auto* data = static_cast<const char*>(sqlite3_column_blob(statement, index));
  const int size = sqlite3_column_bytes(statement, index);
  return data == nullptr ? std::string() : std::string(data, static_cast<size_t>(size));
}

/// The first column of the first row of a pragma.
result<std::string> ask(sqlite3* db, const std::string& sql) {
  ARCA_TRY(statement, prepare(db, sql));
  if (sqlite3_step(statement.get()) != SQLITE_ROW) return fail_sqlite(db, sql);
  return column(statement.get(), 0);
}

result<void> migrate(sqlite3* db, int from) {
  for (int version = from; version < schema_version; ++version) {
    const std::string sql = "BEGIN IMMEDIATE;" + std::string(migrations[static_cast<size_t>(version)]) +
                            "PRAGMA user_version=" + std::to_string(version + 1) + ";COMMIT;";
    if (auto done = execute(db, sql.c_str()); !done) {
      sqlite3_exec(db, "ROLLBACK", nullptr, nullptr, nullptr);
      return fail(done.error().wrap("migration to schema version " + std::to_string(version + 1)));
    }
  }
  return {};
}

struct opened {
  db_handle db;
  bool damaged = false;
};

/// Opens, checks and migrates. `damaged`: the file is no healthy database.
result<opened> open_once(const std::string& path) {
  {
    // SQLite would make the file with the process's umask; its WAL and shm files take over the mode of this one.
    ARCA_TRY(file, fs::open(path, O_RDWR | O_CREAT, 0600));
    static_cast<void>(file);
  }
  sqlite3* raw = nullptr;
  const int code = sqlite3_open_v2(path.c_str(), &raw, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, nullptr);
  opened out{db_handle(raw)};
  if (raw == nullptr) return fail(errc::internal, "state.db: out of memory");
  if (code != SQLITE_OK) return fail_sqlite(raw, "open " + path);
  sqlite3_busy_timeout(raw, 5000);

  const auto broken = [&](const error& e) -> result<opened> {
    if (!is_damage(raw)) return fail(e);
    out.damaged = true;
    return std::move(out);
  };
  const auto version = ask(raw, "PRAGMA user_version");
  if (!version) return broken(version.error());
  const int found = std::stoi(*version);
  if (found > schema_version)
    return fail(errc::conflict, path + " has schema version " + *version + ", newer than the version " +
                                    std::to_string(schema_version) + " that this program knows");
  const auto health = ask(raw, "PRAGMA quick_check(1)");
  if (!health) return broken(health.error());
  if (*health != "ok") {
    out.damaged = true;
    return std::move(out);
  }
  for (const char* pragma : {"PRAGMA journal_mode=WAL", "PRAGMA foreign_keys=ON", "PRAGMA synchronous=NORMAL",
                             "PRAGMA journal_size_limit=8388608", "PRAGMA temp_store=MEMORY"}) {
    if (auto done = execute(raw, pragma); !done) return broken(done.error());
  }
  if (auto done = migrate(raw, found); !done) return broken(done.error());
  return out;
}

void set_aside(const std::string& path) {
  const std::string aside = path + ".corrupt-" + std::to_string(std::time(nullptr));
  for (const char* suffix : {"", "-wal", "-shm"}) std::rename((path + suffix).c_str(), (aside + suffix).c_str());
  log::error("state database is damaged: set aside, starting with an empty one", log::kv("path", path),
             log::kv("kept_as", aside));
}

}  // namespace

std::string_view to_string(table t) noexcept {
  return table_names[static_cast<size_t>(t)];
}

struct state_db::impl {
  db_handle db;
  std::array<statement_handle, table_names.size()> put, erase;
  statement_handle begin, commit, rollback, savepoint, release, back;

  result<void> prepare_all() {
    for (size_t i = 0; i < table_names.size(); ++i) {
      const std::string name = '"' + std::string(table_names[i]) + '"';
      ARCA_TRY(p, prepare(db.get(), "INSERT INTO " + name +
                                        "(key,uniq,document) VALUES(?1,?2,?3) ON CONFLICT(key) DO UPDATE SET "
                                        "uniq=excluded.uniq,document=excluded.document"));
      put[i] = std::move(p);
      ARCA_TRY(e, prepare(db.get(), "DELETE FROM " + name + " WHERE key=?1"));
      erase[i] = std::move(e);
    }
    const std::array<std::pair<statement_handle*, const char*>, 6> fixed = {{{&begin, "BEGIN IMMEDIATE"},
                                                                             {&commit, "COMMIT"},
                                                                             {&rollback, "ROLLBACK"},
                                                                             {&savepoint, "SAVEPOINT b"},
                                                                             {&release, "RELEASE b"},
                                                                             {&back, "ROLLBACK TO b"}}};
    for (const auto& [where, sql] : fixed) {
      ARCA_TRY(statement, prepare(db.get(), sql));
      *where = std::move(statement);
    }
    return {};
  }

  result<void> run(const statement_handle& statement) {
    const int code = sqlite3_step(statement.get());
    result<void> out;
    if (code != SQLITE_DONE) out = fail_sqlite(db.get(), sqlite3_sql(statement.get()));
    sqlite3_reset(statement.get());
    return out;
  }

  result<void> apply(const row_change& change) {
    const auto index = static_cast<size_t>(change.in);
    if (index >= table_names.size()) return fail(errc::internal, "state.db: no such table");
    const auto& statement = change.erase ? erase[index] : put[index];
    bind_text(statement.get(), 1, change.key);
    if (!change.erase) {
      if (change.unique.empty())
        sqlite3_bind_null(statement.get(), 2);
      else
        bind_text(statement.get(), 2, change.unique);
      bind_text(statement.get(), 3, change.document);
    }
    auto done = run(statement);
    sqlite3_clear_bindings(statement.get());
    if (!done && done.error().code() == errc::conflict)
      return fail(errc::conflict, std::string(to_string(change.in)) + ": " + change.unique + " is already in use");
    return done;
  }

  /// One batch inside the running transaction; what it did is taken back when it fails.
  result<void> apply_batch(const batch& one) {
    ARCA_CHECK(run(savepoint));
    result<void> done;
    for (const auto& change : one.changes) {
      done = apply(change);
      if (!done) break;
    }
    if (!done) ARCA_CHECK(run(back));
    ARCA_CHECK(run(release));
    return done;
  }

  result<void> set_durable(bool durable) {
    return execute(db.get(), durable ? "PRAGMA synchronous=FULL" : "PRAGMA synchronous=NORMAL");
  }
};

state_db::state_db(std::unique_ptr<impl> self) : self_(std::move(self)) {}
state_db::state_db(state_db&&) noexcept = default;
state_db& state_db::operator=(state_db&&) noexcept = default;
state_db::~state_db() = default;

result<state_db> state_db::open(const std::string& path) {
  ARCA_TRY(first, open_once(path));
  if (first.damaged) {
    first.db.reset();
    set_aside(path);
    ARCA_TRY(second, open_once(path));
    if (second.damaged) return fail(errc::internal, "state.db: a fresh database at " + path + " is damaged");
    first = std::move(second);
  }
  auto self = std::make_unique<impl>();
  self->db = std::move(first.db);
  ARCA_CHECK(self->prepare_all());
  return state_db(std::move(self));
}

result<void> state_db::commit(const std::vector<row_change>& changes, bool durable) {
  return std::move(commit(std::vector<batch>{{changes, durable}}).front());
}

std::vector<result<void>> state_db::commit(const std::vector<batch>& batches) {
  std::vector<result<void>> results(batches.size());
  if (batches.empty()) return results;
  bool durable = false;
  for (const auto& one : batches) durable = durable || one.durable;

  const auto all_fail = [&](const error& e) {
    for (auto& r : results)
      if (r) r = fail(e);
  };
  // synchronous cannot change inside a transaction.
  if (durable) {
    if (auto set = self_->set_durable(true); !set) {
      all_fail(set.error());
      return results;
    }
  }
  if (auto begun = self_->run(self_->begin); !begun) {
    all_fail(begun.error());
  } else {
    for (size_t i = 0; i < batches.size(); ++i) results[i] = self_->apply_batch(batches[i]);
    failpoint::reached("before-commit");
    // A failure like a full disk may have ended the transaction already.
    auto committed = sqlite3_get_autocommit(self_->db.get()) != 0
                         ? result<void>(fail(errc::internal, "state.db: transaction was rolled back"))
                         : self_->run(self_->commit);
    if (!committed) {
      if (sqlite3_get_autocommit(self_->db.get()) == 0) static_cast<void>(self_->run(self_->rollback));
      all_fail(committed.error());
    } else {
      failpoint::reached("commit");
    }
  }
  if (durable) {
    if (auto set = self_->set_durable(false); !set) log::warn(set.error().message());
  }
  return results;
}

result<std::vector<row>> state_db::load(table from) {
  const std::string sql = "SELECT key,uniq,document FROM \"" + std::string(to_string(from)) + "\" ORDER BY key";
  ARCA_TRY(statement, prepare(self_->db.get(), sql));
  std::vector<row> rows;
  for (;;) {
    const int code = sqlite3_step(statement.get());
    if (code == SQLITE_DONE) return rows;
    if (code != SQLITE_ROW) return fail_sqlite(self_->db.get(), sql);
    rows.push_back({column(statement.get(), 0), column(statement.get(), 1), column(statement.get(), 2)});
  }
}

}  // namespace arca::store
