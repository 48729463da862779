#include "actors/model/list_filters.hpp"

#include <algorithm>
#include <charconv>
#include <set>

#include "actors/model/summary.hpp"
#include "actors/model/validation.hpp"
#include "persistence/base/text.hpp"

namespace arca::model {
namespace {

constexpr std::string_view accepted[] = {"ancestor", "before",  "exited",  "id",      "isolation",
                                         "label",    "name",    "status",  "health",  "since",
                                         "volume",   "network", "is-task", "publish", "expose"};

using port_set = std::set<std::string>;

// What the values of the filters mean, parsed once.
struct selection {
  explicit selection(const list_options& given) : options(given) {}
  const list_options& options;
  bool all = false;
  std::set<int> exited;
  bool by_task = false, task = false;
  bool by_ancestor = false;
  std::set<std::string> ancestors;
  port_set published, exposed;
  const container_record* before = nullptr;
  const container_record* since = nullptr;
};

result<int> parse_int(const std::string& text) {
  auto digits = std::string_view(text);
  if (!digits.empty() && digits.front() == '+') digits.remove_prefix(1);
  int out = 0;
  const auto [p, error] = std::from_chars(digits.data(), digits.data() + digits.size(), out);
  if (error == std::errc() && p == digits.data() + digits.size()) return out;
  return refuse("strconv.Atoi: parsing " + go_quote(text) +
                (error == std::errc::result_out_of_range ? ": value out of range" : ": invalid syntax"));
}

result<int> parse_port(const std::string& text) {
  int out = 0;
  const auto [p, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  const bool whole = p == text.data() + text.size() && !text.empty() && text.front() != '-';
  if (error == std::errc() && whole && out <= 65535) return out;
  const bool range = whole && (error == std::errc::result_out_of_range || error == std::errc());
  return fail(errc::internal,
              "strconv.ParseUint: parsing " + go_quote(text) + (range ? ": value out of range" : ": invalid syntax"));
}

// "80", "80/udp", "8000-8010/tcp" → "80/tcp" …
result<void> add_ports(const filters& where, const char* key, port_set& into) {
  for (const auto& value : where.get(key)) {
    const auto refused = [&](const std::string& why) {
      return fail(errc::internal, "error while looking up for " + std::string(key) + " " + value + ": " + why);
    };
    if (value.find(':') != std::string::npos)
      return fail(errc::internal, "filter for '" + std::string(key) + "' should not contain ':': " + value);
    const auto slash = value.find('/');
    const auto protocol = slash == std::string::npos || slash + 1 == value.size() ? "tcp" : value.substr(slash + 1);
    const auto range = value.substr(0, slash);
    if (range.empty()) return refused("empty string specified for ports");
    const auto dash = range.find('-');
    const auto first = parse_port(range.substr(0, dash));
    if (!first) return refused(first.error().message());
    const auto last = dash == std::string::npos ? first : parse_port(range.substr(dash + 1));
    if (!last) return refused(last.error().message());
    if (*last < *first) return refused("invalid range specified for port: " + range);
    for (int port = *first; port <= *last; ++port) into.insert(std::to_string(port) + "/" + protocol);
  }
  return {};
}

result<void> check_words(const filters& where, const char* key, const char* what,
                         std::initializer_list<std::string_view> known) {
  for (const auto& value : where.get(key)) {
    if (std::find(known.begin(), known.end(), value) != known.end()) continue;
    std::string list;
    for (const auto word : known) list += (list.empty() ? "" : ", ") + std::string(word);
    return refuse("invalid filter '" + std::string(key) + "=" + value + "': invalid value for " + what + " (" + value +
                  "): must be one of " + list);
  }
  return {};
}

// Full id, name with or without "/", unique prefix of an id.
result<const container_record*> named(const std::vector<record_ptr>& all, const std::string& name) {
  const auto plain = starts_with(name, "/") ? name.substr(1) : name;
  const container_record* by_prefix = nullptr;
  size_t matches = 0;
  for (const auto& r : all) {
    if (r->id == name || r->name == plain) return r.get();
    if (name.empty() || !starts_with(r->id, name)) continue;
    by_prefix = r.get();
    ++matches;
  }
  if (matches == 1) return by_prefix;
  return fail(errc::not_found, "No such container: " + name);
}

result<void> read_filters(selection& s, const std::vector<record_ptr>& all, const list_lookups& lookups) {
  const auto& where = s.options.where;
  ARCA_CHECK(where.validate(accepted));
  for (const auto& value : where.get("exited")) {
    auto code = parse_int(value);
    if (!code) return refuse("invalid filter 'exited=" + value + "': " + code.error().message());
    s.exited.insert(*code);
  }
  ARCA_CHECK(check_words(where, "status", "state",
                         {"created", "running", "paused", "restarting", "removing", "exited", "dead"}));
  s.all = s.options.all || !where.get("status").empty();
  ARCA_CHECK(check_words(where, "health", "health", {"none", "starting", "healthy", "unhealthy"}));
  s.by_task = where.contains("is-task");
  if (s.by_task) {
    ARCA_TRY(task, where.get_bool("is-task", false));
    s.task = task;
  }
  for (const auto& value : where.get("before")) {
    ARCA_TRY(found, named(all, value));
    s.before = found;
  }
  for (const auto& value : where.get("since")) {
    ARCA_TRY(found, named(all, value));
    s.since = found;
  }
  s.by_ancestor = where.contains("ancestor");
  for (const auto& value : where.get("ancestor"))
    if (lookups.image_id)
      if (auto id = lookups.image_id(value); !id.empty()) s.ancestors.insert(std::move(id));
  ARCA_CHECK(add_ports(where, "publish", s.published));
  return add_ports(where, "expose", s.exposed);
}

bool has_volume(const container_record& r, const std::set<std::string>& wanted) {
  return std::any_of(r.mounts.begin(), r.mounts.end(), [&](const mount_point& m) {
    return wanted.count(m.destination) > 0 || wanted.count(m.name.empty() ? m.source : m.name) > 0;
  });
}

bool has_network(const container_record& r, const std::set<std::string>& wanted) {
  const auto mode = network_name_of(text_of(r.host_config, "NetworkMode"));
  return std::any_of(wanted.begin(), wanted.end(), [&](const std::string& value) {
    if (!mode.empty() && mode == value) return true;
    if (r.networking.is_object() && r.networking.contains(value)) return true;
    return std::any_of(r.endpoints.begin(), r.endpoints.end(), [&](const endpoint_settings& e) {
      return e.network_name == value || starts_with(e.network_id, value);
    });
  });
}

bool has_port(const container_record& r, const selection& s) {
  const auto ports = ports_of(r);
  return std::any_of(ports.begin(), ports.end(), [&](const shown_port& p) {
    return s.published.count(std::to_string(p.public_port) + "/" + p.type) > 0 ||
           s.exposed.count(std::to_string(p.private_port) + "/" + p.type) > 0;
  });
}

std::map<std::string, std::string> labels_of(const container_record& r) {
  std::map<std::string, std::string> out;
  for (const auto& [key, value] : object_of(r.config, "Labels").items())
    if (value.is_string()) out[key] = value.get<std::string>();
  return out;
}

// Conditions that Docker looks at before it counts towards the limit …
bool counts(const container_record& r, const selection& s) {
  const auto& where = s.options.where;
  if (!shows_running(r) && !s.all && s.options.limit <= 0) return false;
  if (!where.match("name", "/" + r.name) && !where.match("name", r.name)) return false;
  if (!where.match("id", r.id)) return false;
  if (s.by_task && s.task) return false;  // there are no swarm tasks
  return where.match_kv("label", labels_of(r));
}

// … and those after it.
bool fits(const container_record& r, const selection& s, const list_lookups& lookups) {
  const auto& where = s.options.where;
  if (!s.exited.empty() && (s.exited.count(r.state.exit_code) == 0 || shows_running(r) || r.state.started_at == 0))
    return false;
  if (!where.match("status", shown_status(r)) || !where.exact_match("health", health_of(r))) return false;
  if (where.contains("volume") && !has_volume(r, where.get("volume"))) return false;
  if (s.by_ancestor && std::none_of(s.ancestors.begin(), s.ancestors.end(), [&](const std::string& ancestor) {
        return r.image_id == ancestor || (lookups.descends_from && lookups.descends_from(r.image_id, ancestor));
      }))
    return false;
  if (where.contains("network") && !has_network(r, where.get("network"))) return false;
  return (s.published.empty() && s.exposed.empty()) || has_port(r, s);
}

// An id filter value counts as a prefix that names one container.
bool id_selected(const std::vector<record_ptr>& all, const container_record& r, const std::set<std::string>& ids) {
  return std::any_of(ids.begin(), ids.end(), [&](const std::string& id) {
    if (id.empty() || !starts_with(r.id, id)) return false;
    return r.id == id ||
           std::count_if(all.begin(), all.end(), [&](const record_ptr& o) { return starts_with(o->id, id); }) == 1;
  });
}

}  // namespace

result<std::vector<record_ptr>> select_containers(std::vector<record_ptr> all, const list_options& options,
                                                  const list_lookups& lookups) {
  selection s(options);
  ARCA_CHECK(read_filters(s, all, lookups));
  std::stable_sort(all.begin(), all.end(),
                   [](const record_ptr& a, const record_ptr& b) { return a->created > b->created; });
  std::vector<record_ptr> out;
  const auto& ids = options.where.get("id");
  bool past_before = s.before == nullptr;
  for (const auto& r : all) {
    if (!ids.empty() && !id_selected(all, *r, ids)) continue;
    if (!past_before) {
      past_before = r.get() == s.before;
      continue;
    }
    if (r.get() == s.since) break;
    if (!counts(*r, s)) continue;
    if (options.limit > 0 && static_cast<int64_t>(out.size()) == options.limit) break;
    if (fits(*r, s, lookups)) out.push_back(r);
  }
  return out;
}

result<void> check_prune_filters(const filters& f) {
  static constexpr std::string_view known[] = {"label", "label!", "until"};
  ARCA_CHECK(f.validate(known));
  bool given = false;
  ARCA_CHECK(until_filter(f, now_nanos(), given));
  return {};
}

bool prune_matches(const container_record& r, const filters& f, int64_t now) {
  if (shows_running(r) || r.state.status == container_status::starting || r.state.status == container_status::removing)
    return false;
  bool given = false;
  const auto until = until_filter(f, now, given);
  if (given && (!until || r.created > *until)) return false;
  return labels_match(f, labels_of(r));
}

}  // namespace arca::model
