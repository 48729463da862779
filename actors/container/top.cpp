#include "actors/container/top.hpp"

#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <ctime>
#include <nlohmann/json.hpp>
#include <optional>

#include "persistence/base/fs.hpp"
#include "persistence/base/text.hpp"
#include "persistence/images/overlay.hpp"

namespace arca {
namespace {

struct process {
  int64_t pid = 0, ppid = 0, start_ticks = 0, cpu_ticks = 0, rss_pages = 0;
  uint64_t virtual_bytes = 0;
  unsigned tty = 0;
  char state = '?';
  uint32_t uid = 0;
  std::string name, command;
};

/// What a number of a foreign kernel may be at most: sums and products of such are no overflow.
constexpr int64_t largest = int64_t{1} << 48;
int64_t bounded(long long value) {
  return std::clamp<int64_t>(value, 0, largest);
}

std::optional<process> parse(const process_facts& facts) {
  const auto& stat = facts.stat;
  const auto open = stat.find('(');
  const auto close = stat.rfind(')');
  if (open == std::string::npos || close == std::string::npos || close < open) return std::nullopt;
  process p;
  p.pid = facts.pid;
  p.name = stat.substr(open + 1, close - open - 1);
  long long ppid = 0, utime = 0, stime = 0, start = 0, rss = 0;
  unsigned long long vsize = 0;
  int tty = 0;
  if (std::sscanf(stat.c_str() + close + 1,
                  " %c %lld %*d %*d %d %*d %*u %*u %*u %*u %*u %lld %lld %*d %*d %*d %*d %*d %*d %lld %llu %lld",
                  &p.state, &ppid, &tty, &utime, &stime, &start, &vsize, &rss) != 8)
    return std::nullopt;
  p.ppid = ppid;
  p.tty = static_cast<unsigned>(tty);
  p.cpu_ticks = bounded(utime) + bounded(stime);
  p.start_ticks = bounded(start);
  p.virtual_bytes = vsize;
  p.rss_pages = std::min(bounded(rss), largest >> 16);
  p.uid = facts.uid;
  p.command = facts.command;
  while (!p.command.empty() && p.command.back() == '\0') p.command.pop_back();
  std::replace(p.command.begin(), p.command.end(), '\0', ' ');
  if (p.command.empty()) p.command = "[" + p.name + "]";
  return p;
}

struct clock_facts {
  int64_t ticks = ::sysconf(_SC_CLK_TCK);  // USER_HZ and the size of a page are the same in a guest
  int64_t page = ::sysconf(_SC_PAGESIZE);
  double uptime = 0;
  int64_t memory_kb = 1;
  time_t now = 0;
  explicit clock_facts(const process_list& of)
      : uptime(of.uptime >= 0 && of.uptime < static_cast<double>(largest) ? of.uptime : 0),
        memory_kb(std::max<int64_t>(1, bounded(of.memory_kib))),
        now(bounded(of.now)) {}
};

std::string user_name(uint32_t uid) {
  std::array<char, 4096> buffer{};
  passwd entry{};
  passwd* found = nullptr;
  if (::getpwuid_r(uid, &entry, buffer.data(), buffer.size(), &found) == 0 && found != nullptr) return found->pw_name;
  return std::to_string(uid);
}

std::string hours(int64_t seconds) {
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), "%02ld:%02ld:%02ld", static_cast<long>(seconds / 3600),
                static_cast<long>(seconds / 60 % 60), static_cast<long>(seconds % 60));
  return text.data();
}

std::string tty_name(unsigned device) {
  const unsigned major = device >> 8 & 0xfff;
  const unsigned minor = (device & 0xff) | (device >> 12 & 0xfff00);
  if (major == 136) return "pts/" + std::to_string(minor);
  return "?";
}

std::string start_text(const process& p, const clock_facts& c) {
  const time_t started = c.now - static_cast<time_t>(c.uptime) + p.start_ticks / c.ticks;
  tm local{};
  ::localtime_r(&started, &local);
  std::array<char, 32> text{};
  std::strftime(text.data(), text.size(), c.now - started < 86400 ? "%H:%M" : "%b%d", &local);
  return text.data();
}

constexpr double most_percent = 1e6;
double cpu_percent(const process& p, const clock_facts& c) {
  const double lived = c.uptime - static_cast<double>(p.start_ticks) / static_cast<double>(c.ticks);
  if (lived <= 0) return 0;
  return std::min(most_percent, 100.0 * static_cast<double>(p.cpu_ticks) / static_cast<double>(c.ticks) / lived);
}

std::string one_decimal(double value) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.1f", value);
  return text.data();
}

using column = std::string (*)(const process&, const clock_facts&);
struct named_column {
  const char* title;
  column value;
};

const named_column uid_column = {"UID", [](const process& p, const clock_facts&) { return user_name(p.uid); }};
const named_column user_column = {"USER", [](const process& p, const clock_facts&) { return user_name(p.uid); }};
const named_column pid_column = {"PID", [](const process& p, const clock_facts&) { return std::to_string(p.pid); }};
const named_column ppid_column = {"PPID", [](const process& p, const clock_facts&) { return std::to_string(p.ppid); }};
const named_column c_column = {
    "C", [](const process& p, const clock_facts& c) { return std::to_string(static_cast<int>(cpu_percent(p, c))); }};
const named_column stime_column = {"STIME", start_text};
const named_column start_column = {"START", start_text};
const named_column tty_column = {"TTY", [](const process& p, const clock_facts&) { return tty_name(p.tty); }};
const named_column time_column = {"TIME",
                                  [](const process& p, const clock_facts& c) { return hours(p.cpu_ticks / c.ticks); }};
const named_column bsd_time_column = {"TIME", [](const process& p, const clock_facts& c) {
                                        const int64_t s = p.cpu_ticks / c.ticks;
                                        std::array<char, 32> text{};
                                        std::snprintf(text.data(), text.size(), "%ld:%02ld", static_cast<long>(s / 60),
                                                      static_cast<long>(s % 60));
                                        return std::string(text.data());
                                      }};
const named_column cmd_column = {"CMD", [](const process& p, const clock_facts&) { return p.command; }};
const named_column command_column = {"COMMAND", [](const process& p, const clock_facts&) { return p.command; }};
const named_column name_column = {"COMMAND", [](const process& p, const clock_facts&) { return p.name; }};
const named_column cpu_column = {"%CPU",
                                 [](const process& p, const clock_facts& c) { return one_decimal(cpu_percent(p, c)); }};
const named_column mem_column = {
    "%MEM", [](const process& p, const clock_facts& c) {
      return one_decimal(100.0 * static_cast<double>(p.rss_pages * c.page / 1024) / static_cast<double>(c.memory_kb));
    }};
const named_column vsz_column = {
    "VSZ", [](const process& p, const clock_facts&) { return std::to_string(p.virtual_bytes / 1024); }};
const named_column rss_column = {
    "RSS", [](const process& p, const clock_facts& c) { return std::to_string(p.rss_pages * c.page / 1024); }};
const named_column stat_column = {"STAT", [](const process& p, const clock_facts&) { return std::string(1, p.state); }};

/// The columns that ps shows for these arguments; empty: not one of the forms that we know.
std::vector<named_column> columns_of(const std::string& args) {
  const std::string bare = !args.empty() && args[0] == '-' ? args.substr(1) : args;
  if (args.empty() || bare == "ef" || bare == "f" || bare == "fe")
    return {uid_column, pid_column, ppid_column, c_column, stime_column, tty_column, time_column, cmd_column};
  if (bare == "aux" || bare == "axu" || bare == "u")
    return {user_column, pid_column,  cpu_column,   mem_column,      vsz_column,    rss_column,
            tty_column,  stat_column, start_column, bsd_time_column, command_column};
  std::string list;
  for (const char* form : {"-eo", "-o", "eo", "o", "-axo", "axo", "-Ao"}) {
    const std::string prefix(form);
    if (args.rfind(prefix, 0) == 0) {
      list = args.substr(prefix.size());
      break;
    }
  }
  std::vector<named_column> columns;
  for (const auto& piece : split(list, ',')) {
    std::string name;
    for (const char ch : piece)
      if (ch != ' ') name += ch;
    if (name == "pid")
      columns.push_back(pid_column);
    else if (name == "ppid")
      columns.push_back(ppid_column);
    else if (name == "user" || name == "euser")
      columns.push_back(user_column);
    else if (name == "uid")
      columns.push_back(uid_column);
    else if (name == "comm")
      columns.push_back(name_column);
    else if (name == "args" || name == "command")
      columns.push_back(command_column);
    else if (name == "cmd")
      columns.push_back(cmd_column);
    else if (name == "time")
      columns.push_back(time_column);
    else if (name == "rss")
      columns.push_back(rss_column);
    else if (name == "vsz")
      columns.push_back(vsz_column);
    else if (name == "stat")
      columns.push_back(stat_column);
    else if (name == "tty")
      columns.push_back(tty_column);
    else if (name == "pcpu" || name == "%cpu")
      columns.push_back(cpu_column);
    else if (name == "pmem" || name == "%mem")
      columns.push_back(mem_column);
    else
      return {};
  }
  return columns;
}
}  // namespace

result<std::string> process_table(const process_list& of, const std::string& ps_args) {
  const auto columns = columns_of(ps_args);
  if (columns.empty()) return fail(errc::invalid_argument, "ps arguments are not supported: " + ps_args);
  const bool has_pid =
      std::any_of(columns.begin(), columns.end(), [](const auto& c) { return std::strcmp(c.title, "PID") == 0; });
  if (!has_pid) return fail(errc::internal, "Couldn't find PID field in ps output");
  const clock_facts facts(of);
  nlohmann::json table = {{"Titles", nlohmann::json::array()}, {"Processes", nlohmann::json::array()}};
  for (const auto& c : columns) table["Titles"].push_back(c.title);
  std::vector<process> sorted;
  for (const auto& each : of.processes)
    if (auto p = parse(each)) sorted.push_back(std::move(*p));
  std::sort(sorted.begin(), sorted.end(), [](const process& a, const process& b) { return a.pid < b.pid; });
  for (const auto& p : sorted) {
    auto row = nlohmann::json::array();
    for (const auto& c : columns) row.push_back(c.value(p, facts));
    table["Processes"].push_back(std::move(row));
  }
  return table.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

container_sizes measure(const std::string& container_dir, const std::vector<std::string>& layers) {
  container_sizes sizes;
  if (auto size = images::size_of_tree(container_dir + "/upper")) sizes.writable = static_cast<int64_t>(*size);
  sizes.root_fs = sizes.writable;
  for (const auto& layer : layers) {
    // The layer store writes the size beside the tree when it unpacks it.
    auto meta = fs::read_file(layer.substr(0, layer.rfind('/')) + "/meta.json", 1 << 20);
    if (!meta) continue;
    const auto parsed = nlohmann::json::parse(*meta, nullptr, false);
    if (parsed.is_object()) sizes.root_fs += parsed.value("size", int64_t{0});
  }
  return sizes;
}

}  // namespace arca
