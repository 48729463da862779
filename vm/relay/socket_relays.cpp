#include "vm/relay/socket_relays.hpp"

#include <pthread.h>

#include <csignal>
#include <deque>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <thread>
#include <utility>
#include <vector>

#include "persistence/base/fs.hpp"
#include "persistence/base/log.hpp"
#include "vm/relay/host_socket.hpp"

namespace arca::vm {
namespace {
using namespace std::chrono_literals;
constexpr auto call_limit = 5s;
constexpr int connect_ms = 5000;
constexpr size_t largest_record = 1u << 20;

std::string file_in(const std::string& dir) {
  return dir + "/relays.json";
}
}  // namespace

/// Shared with the thread that connects and with open tunnels, which may outlive the machine for a moment.
struct socket_relays::state : std::enable_shared_from_this<state> {
  const std::string dir;
  const std::weak_ptr<agent_client> agent;
  std::mutex lock;
  std::map<std::string, std::string> paths;  ///< relay → socket of the host
  std::deque<agent_relayed> waiting;
  size_t open = 0;
  uint64_t shared = 0;      ///< so often share() was called
  bool connecting = false;  ///< its thread is there
  bool following = false;
  bool closed = false;

  state(std::string where, const std::shared_ptr<agent_client>& whose) : dir(std::move(where)), agent(whose) {}

  void follow() {
    if (std::exchange(following, true)) return;
    if (const auto client = agent.lock())
      client->follow_relays([weak = weak_from_this()](agent_relayed each) {
        if (const auto self = weak.lock()) self->came(std::move(each));
      });
  }

  /// On gRPC's thread. An agent that tells of what it was not asked for is not listened to any more.
  void came(agent_relayed each) {
    bool room = false;
    {
      const std::lock_guard guard(lock);
      if (closed) return;
      if (!paths.contains(each.relay))
        return log::warn("the machine's agent relays a socket that it was not given", log::kv("machine", dir));
      waiting.push_back(std::move(each));
      room = waiting.size() < most_waiting;
      begin();
    }
    if (room) listen_on();
  }

  void listen_on() {
    if (const auto client = agent.lock()) client->next_relayed();
  }

  /// With the lock.
  void begin() {
    if (std::exchange(connecting, true)) return;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);  // signals are for the threads that wait for them
    std::thread([self = shared_from_this()] {
      pthread_setname_np(pthread_self(), "arca-relay");
      self->connect_all();
    }).detach();
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }

  /// One after the other: a server that does not take its connections holds up this machine and no other.
  void connect_all() {
    for (;;) {
      agent_relayed next;
      std::string path;
      bool was_full = false;
      {
        const std::lock_guard guard(lock);
        if (closed || waiting.empty()) {
          connecting = false;
          return;
        }
        was_full = waiting.size() >= most_waiting;
        next = std::move(waiting.front());
        waiting.pop_front();
        if (open < most_connections) path = paths.at(next.relay);
      }
      if (was_full) listen_on();
      if (path.empty())
        refuse(next, "too many connections");
      else if (auto socket = connect_as(path, next.uid, next.gid, connect_ms); socket)
        tunnel(next, std::move(*socket));
      else
        refuse(next, socket.error().message());
    }
  }

  void tunnel(const agent_relayed& which, unique_fd socket) {
    const auto client = agent.lock();
    if (!client) return;
    {
      const std::lock_guard guard(lock);
      ++open;
    }
    agent_tunnel where;
    where.to = agent_tunnel::kind::relayed;
    where.connection = which.id;
    client->tunnel_from(std::move(socket), where, call_limit, [self = shared_from_this()] {
      const std::lock_guard guard(self->lock);
      --self->open;
    });
  }

  void refuse(const agent_relayed& which, const std::string& why) {
    log::debug("a relayed connection is refused", log::kv("machine", dir), log::kv("reason", why));
    const auto client = agent.lock();
    if (client) (void)wait_for<void>([&](auto done) { client->refuse_relayed(which.id, call_limit, std::move(done)); });
  }

  /// The name of another relay.
  result<std::string> add(const std::string& path) {
    const std::lock_guard guard(lock);
    if (paths.size() >= most_sockets) return fail(errc::invalid_argument, "too many sockets in bind mounts");
    auto name = std::to_string(paths.size() + 1);
    paths[name] = path;
    ARCA_CHECK(save());
    return name;
  }

  result<void> save() {
    return fs::write_file_atomic(
        file_in(dir),
        nlohmann::json({{"sockets", paths}}).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
  }
};

socket_relays::socket_relays(std::string dir, const std::shared_ptr<agent_client>& agent)
    : state_(std::make_shared<state>(std::move(dir), agent)) {}

socket_relays::~socket_relays() {
  const std::lock_guard guard(state_->lock);
  state_->closed = true;
}

result<void> socket_relays::resume() {
  const auto text = fs::read_file(file_in(state_->dir), largest_record);
  if (!text) return text.error().code() == errc::not_found ? result<void>{} : fail(text.error());
  const auto document = nlohmann::json::parse(*text, nullptr, false);
  if (!document.is_object() || !document.contains("sockets") || !document["sockets"].is_object())
    return fail(errc::internal, file_in(state_->dir) + " is damaged");
  {
    const std::lock_guard guard(state_->lock);
    for (const auto& [name, path] : document["sockets"].items())
      if (path.is_string()) state_->paths[name] = path.get<std::string>();
  }
  if (!state_->paths.empty()) state_->follow();
  return {};
}

result<std::string> socket_relays::share(int file) {
  ARCA_TRY(socket, host_socket_of(file));
  const auto client = state_->agent.lock();
  if (!client) return fail(errc::gone, "the machine's agent has gone");
  agent_relay relay;
  relay.uid = socket.uid;
  relay.gid = socket.gid;
  relay.mode = socket.mode;
  std::vector<std::string> known;
  {
    const std::lock_guard guard(state_->lock);
    relay.token = "relay-" + std::to_string(++state_->shared);
    for (const auto& [name, path] : state_->paths)
      if (path == socket.path) known.push_back(name);
  }
  const auto make = [&](const std::string& name) {
    relay.name = name;
    return wait_for<void>([&](auto done) { client->make_relay(relay, call_limit, std::move(done)); });
  };
  // Unless owner or mode are not what they were: then the relay stays with whom it was given to.
  auto made = result<void>(fail(errc::conflict, socket.path + " is not relayed yet"));
  for (const auto& name : known)
    if (!made && made.error().code() == errc::conflict) made = make(name);
  if (!made && made.error().code() == errc::conflict) {
    ARCA_TRY(name, state_->add(socket.path));
    made = make(name);
  }
  if (!made) return fail(made.error());
  state_->follow();
  return relay.token;
}

}  // namespace arca::vm
