#include "guest/crun_launcher.hpp"

#include <fcntl.h>
#include <sys/socket.h>

#include <array>
#include <csignal>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "guest/agent_log.hpp"
#include "guest/bundle.hpp"
#include "guest/fd_passing.hpp"
#include "guest/startup.hpp"
#include "persistence/base/fs.hpp"
#include "persistence/base/text.hpp"

namespace arca::guest {
namespace {
using nlohmann::json;
using namespace std::chrono_literals;

constexpr auto longest_run = 60'000ms;  // a runtime that takes longer hangs; the daemon's deadline is shorter

// The runtime's own words: `msg` of the last line of level error (JSON lines), or of the last line at all.
std::string error_text(const std::string& log_path) {
  const auto text = fs::read_file(log_path, 256u << 10);
  std::string found;
  if (!text) return found;
  for (const auto& line : split(*text, '\n')) {
    const json parsed = json::parse(line, nullptr, false);
    if (!parsed.is_object() || !parsed.contains("msg") || !parsed["msg"].is_string()) continue;
    if (found.empty() || parsed.value("level", json()) == "error") found = parsed["msg"].get<std::string>();
  }
  const auto first = found.find_first_not_of(" \t\r\n");
  if (first == std::string::npos) return {};
  return found.substr(first, found.find_last_not_of(" \t\r\n") - first + 1);
}
}  // namespace

struct crun_launcher::run {
  std::string pid_file, log_file, console_path, input_file;
  unique_fd console;  ///< listens for the terminal's master
  loop::timer_id limit = 0;

  ~run() {
    unlink(pid_file.c_str());
    unlink(log_file.c_str());
    if (console) unlink(console_path.c_str());
    if (!input_file.empty()) unlink(input_file.c_str());
  }
  result<void> open_console() {
    ARCA_TRY(made, listen_unix(console_path));
    console = std::move(made);
    return {};
  }
  result<void> write_input(const std::string& path, std::string_view text) {
    input_file = path;
    ARCA_TRY(file, fs::open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW));
    return fs::write_all(file.get(), text);
  }
};

crun_launcher::crun_launcher(loop& on, reaper& children, std::string folder)
    : loop_(on), reaper_(children), folder_(std::move(folder)), program_(program::find("crun")) {
  if (program_) return;
  program_ = program::find("runc");
  crun_ = false;
}

std::string crun_launcher::bundle_of(const std::string& container_id) const {
  return folder_ + "/bundle-" + container_id.substr(0, 12);
}

std::shared_ptr<crun_launcher::run> crun_launcher::prepare() {
  auto it = std::make_shared<run>();
  const std::string base = folder_ + "/run-" + std::to_string(++runs_);
  it->pid_file = base + ".pid";
  it->log_file = base + ".log";
  it->console_path = base + ".tty";
  return it;
}

void crun_launcher::start(const std::shared_ptr<run>& it, std::vector<std::string> arguments, const child_stdio& stdio,
                          std::function<void(result<void>)> done) {
  if (!program_) return done(fail(errc::internal, "neither crun nor runc is installed"));
  std::vector<std::string> all{"--root", folder_ + "/crun", "--log", it->log_file, "--log-format", "json"};
  if (crun_) all.emplace_back("--cgroup-manager=cgroupfs");
  all.insert(all.end(), arguments.begin(), arguments.end());
  reaper_.launch_begins();
  const auto pid = program_.spawn(all, stdio.in.get(), stdio.out.get(), stdio.err.get());
  if (!pid) {
    reaper_.launch_ends();
    return done(fail(pid.error()));
  }
  it->limit = loop_.after(longest_run, [pid = *pid] { kill(pid, SIGKILL); });
  reaper_.expect(*pid, [this, it, done = std::move(done)](int code) {
    loop_.cancel(it->limit);
    if (code == 0) {
      done({});
    } else {
      std::string text = error_text(it->log_file);
      if (text.empty()) text = program_.path() + " ended with status " + std::to_string(code);
      done(fail(errc::internal, std::move(text)));
    }
    reaper_.launch_ends();
  });
}

result<launched> crun_launcher::outcome(run& it) {
  launched out;
  out.pid = static_cast<pid_t>(std::strtol(read_small(it.pid_file).c_str(), nullptr, 10));
  if (out.pid <= 0) return fail(errc::internal, program_.path() + " wrote no pid");
  if (!it.console) return out;
  const unique_fd connection(accept4(it.console.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  std::array<char, 256> name{};
  if (connection) receive_with_fd(connection.get(), name.data(), name.size(), out.terminal);
  if (!out.terminal) {
    kill(out.pid, SIGKILL);
    return fail(errc::internal, program_.path() + " sent no terminal");
  }
  return out;
}

void crun_launcher::create_container(create_spec spec, std::function<void(result<created>)> done) {
  const std::string bundle = bundle_of(spec.container_id);
  auto facts = make_bundle(bundle, spec);
  if (!facts) return done(fail(facts.error()));
  auto group = cgroup::at(facts->cgroup_path);
  const auto it = prepare();
  auto console = group && spec.tty ? it->open_console() : result<void>{};
  if (!group || !console) {
    remove_bundle(bundle);
    return done(fail(group ? console.error() : group.error()));
  }
  std::vector<std::string> arguments{"run", "--detach", "--bundle", bundle, "--pid-file", it->pid_file};
  if (spec.tty) arguments.insert(arguments.end(), {"--console-socket", it->console_path});
  arguments.push_back(spec.container_id);
  start(it, std::move(arguments), spec.stdio,
        [this, it, id = spec.container_id, group = *group, own = facts->own_pid_namespace,
         done = std::move(done)](result<void> ran) {
          auto got = ran ? outcome(*it) : result<launched>(fail(ran.error()));
          if (!got) {
            group.kill_all();
            forget(id);
            return done(fail(got.error()));
          }
          created out;
          static_cast<launched&>(out) = std::move(*got);
          out.group = group;
          out.own_pid_namespace = own;
          done(std::move(out));
        });
}

void crun_launcher::exec(exec_spec spec, std::function<void(result<launched>)> done) {
  const auto it = prepare();
  auto text = exec_process_text(spec);
  if (!text) return done(fail(text.error()));
  auto ready = it->write_input(it->pid_file + ".json", *text);
  if (ready && spec.tty) ready = it->open_console();
  if (!ready) return done(fail(ready.error()));
  std::vector<std::string> arguments{"exec", "--detach", "--pid-file", it->pid_file, "--process", it->input_file};
  if (spec.tty) arguments.insert(arguments.end(), {"--console-socket", it->console_path});
  arguments.push_back(spec.container_id);
  start(it, std::move(arguments), spec.stdio, [this, it, done = std::move(done)](result<void> ran) {
    done(ran ? outcome(*it) : result<launched>(fail(ran.error())));
  });
}

void crun_launcher::update_resources(const std::string& container_id, const std::string& resources,
                                     std::function<void(result<void>)> done) {
  const auto it = prepare();
  if (auto written = it->write_input(it->pid_file + ".json", resources); !written) return done(fail(written.error()));
  child_stdio null;
  for (unique_fd* each : {&null.in, &null.out, &null.err}) each->reset(::open("/dev/null", O_RDWR | O_CLOEXEC));
  start(it, {"update", "--resources", it->input_file, container_id}, null, std::move(done));
}

void crun_launcher::forget(const std::string& container_id) {
  remove_bundle(bundle_of(container_id));
  if (auto removed = fs::remove_tree(folder_ + "/crun/" + container_id); !removed)
    log().write(removed.error().message());
}

}  // namespace arca::guest
