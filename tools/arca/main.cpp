// arca: the daemon and its command line.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "tools/arca/api_client.hpp"
#include "tools/arca/commands.hpp"
#include "tools/arca/daemon.hpp"
#include "tools/arca/options.hpp"

namespace arca::cli {
int show_version(const std::string& socket_path) {
  std::printf("arca %s\n", ARCA_VERSION);
  const auto answer = api_client(socket_path).call("GET", "/version");
  const auto info = answer ? nlohmann::json::parse(answer->body, nullptr, false) : nlohmann::json();
  if (info.is_object())
    std::printf("daemon %s, API %s (oldest %s), kernel %s\n", info.value("Version", "?").c_str(),
                info.value("ApiVersion", "?").c_str(), info.value("MinAPIVersion", "?").c_str(),
                info.value("KernelVersion", "?").c_str());
  else
    std::printf("no daemon answers at %s\n", socket_path.c_str());
  return 0;
}
}  // namespace arca::cli

int main(int argc, char** argv) {
  namespace cli = arca::cli;
  CLI::App app("arca: a container engine that speaks the Docker Engine API");
  app.require_subcommand(1);
  int code = 0;

  cli::daemon_options options;
  bool foreground = false;
  const auto with_settings = [&](auto&& action) {
    const auto config = options.resolve();
    if (config) {
      code = action(*config);
    } else {
      std::fprintf(stderr, "arca: %s\n", config.error().message().c_str());
      code = 1;
    }
  };
  auto* daemon = app.add_subcommand("daemon", "start, stop or ask the daemon");
  daemon->require_subcommand(1);
  auto* start = daemon->add_subcommand("start", "start it; returns when it answers");
  start->add_flag("--foreground", foreground, "stay in the foreground, log to stderr");
  auto* stop = daemon->add_subcommand("stop", "stop it; containers keep running");
  auto* status = daemon->add_subcommand("status", "whether it answers, and where");
  for (auto* sub : {start, stop, status}) options.add_to(*sub);
  start->callback([&] {
    with_settings([&](const arca::settings& s) {
      return foreground ? cli::run_daemon(s) : cli::start_in_background(s, options);
    });
  });
  stop->callback([&] { with_settings(cli::stop_daemon); });
  status->callback([&] { with_settings(cli::show_status); });

  auto* version = app.add_subcommand("version", "versions of program and daemon");
  auto* doctor = app.add_subcommand("doctor", "what this host can do, with a remedy where something is missing");
  auto* setup = app.add_subcommand("setup", "make the guest of virtual machines from Debian packages");
  auto* top = app.add_subcommand("top-actors", "the engine's actors, live");
  auto* machine = app.add_subcommand("machine", "the machines that containers run in");
  machine->require_subcommand(1);
  auto* machines = machine->add_subcommand("ls", "those that run");
  auto* machine_facts = machine->add_subcommand("inspect", "one, with the stages of its start");
  auto* machine_logs = machine->add_subcommand("logs", "boot log of a virtual machine, also of one that has ended");
  auto* console = machine->add_subcommand("console", "boot log of a virtual machine, as it grows");
  auto* dial = machine->add_subcommand("dial", "connect standard input and output with an address inside");
  for (auto* sub : {machines, machine_facts, machine_logs, console, dial}) options.add_to(*sub);
  auto* archive = app.add_subcommand("run-archive", "load an image archive and run it");
  for (auto* sub : {version, doctor, setup, top, archive}) options.add_to(*sub);
  cli::setup_flags wish;
  auto* force = setup->add_flag("--force", wish.force, "make it anew, also when nothing has changed");
  auto* deb = setup->add_option("--deb", wish.package_file, "kernel package to use; needs no network");
  auto* list = setup->add_flag("--list", wish.list, "show the guests that are there, and do nothing");
  auto* prune = setup->add_flag("--prune", wish.prune, "remove guests that are neither current nor in use");
  for (auto* only : {list, prune}) only->excludes(force)->excludes(deb);
  list->excludes(prune);
  bool once = false;
  bool json = false;
  bool follow = false;
  std::string container;
  for (auto* sub : {machines, machine_facts}) sub->add_flag("--json", json, "as JSON");
  for (auto* sub : {machine_facts, machine_logs, console, dial})
    sub->add_option("container", container, "name or id of the container")->required();
  std::string address;
  dial->add_option("address", address, "tcp:HOST:PORT, udp:HOST:PORT (numeric) or unix:PATH")->required();
  machine_logs->add_flag("-f,--follow", follow, "go on as the log grows");
  top->add_flag("--once", once, "print once and end");
  top->add_flag("--json", json, "as JSON");
  std::string file;
  std::vector<std::string> command;
  archive->add_option("file", file, "docker-archive or OCI layout, also compressed")->required();
  archive->add_option("command", command, "what to run instead of the image's command");
  version->callback([&] { with_settings([](const arca::settings& s) { return cli::show_version(s.socket_path); }); });
  doctor->callback([&] { with_settings([](const arca::settings& s) { return cli::doctor(s); }); });
  setup->callback([&] { with_settings([&](const arca::settings& s) { return cli::setup(s, wish); }); });
  top->callback(
      [&] { with_settings([&](const arca::settings& s) { return cli::top_actors(s.socket_path, once, json); }); });
  machines->callback(
      [&] { with_settings([&](const arca::settings& s) { return cli::machine_list(s.socket_path, json); }); });
  machine_facts->callback([&] {
    with_settings([&](const arca::settings& s) { return cli::machine_inspect(s.socket_path, container, json); });
  });
  machine_logs->callback([&] {
    with_settings([&](const arca::settings& s) { return cli::machine_log(s.socket_path, container, follow); });
  });
  console->callback([&] {
    with_settings([&](const arca::settings& s) { return cli::machine_log(s.socket_path, container, true); });
  });
  dial->callback([&] {
    with_settings([&](const arca::settings& s) { return cli::machine_dial(s.socket_path, container, address); });
  });
  archive->callback(
      [&] { with_settings([&](const arca::settings& s) { return cli::run_archive(s.socket_path, file, command); }); });

  CLI11_PARSE(app, argc, argv);
  return code;
}
