// Inside of agent_client: its state, and how one unary call is made. Only for agent_client's own sources.
#pragma once
#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "guest/proto/agent.grpc.pb.h"
#include "persistence/base/tsan.hpp"
#include "persistence/base/unique_fd.hpp"
#include "vm/agent_client.hpp"
#include "vm/channel/reply_guard.hpp"
#include "vm/channel/stdio_stream.hpp"
#include "vm/channel/tunnel_stream.hpp"
#include "vm/start_account.hpp"

namespace arca::vm {

namespace calls {
namespace proto = arca::agent::v1;

error to_error(const grpc::Status& status);

/// What is told of happens-before edges through gRPC (persistence/base/tsan.hpp). One for all calls, because reading a
/// callback's captures to find its own would be the first report.
[[maybe_unused]] inline char through_grpc;

/// One call that is answered by a stream of messages, which come one at a time: each is asked for.
template <class Request, class Message>
struct reader final : grpc::ClientReadReactor<Message> {
  grpc::ClientContext context;
  Request request;
  Message message;
  std::function<void(const Message&)> on_message;
  std::function<void(error)> on_end;
  std::recursive_mutex calling;  ///< held during callbacks: the client's destructor waits for it
  bool silent = false;
  bool taken = false;            ///< the last message was given away and no other asked for
  std::shared_ptr<reader> self;  ///< until OnDone

  using method = void (proto::Agent::Stub::async::*)(grpc::ClientContext*, const Request*,
                                                     grpc::ClientReadReactor<Message>*);
  static std::shared_ptr<reader> make(std::function<void(const Message&)> on_message,
                                      std::function<void(error)> on_end) {
    auto made = std::make_shared<reader>();
    made->on_message = std::move(on_message);
    made->on_end = std::move(on_end);
    made->self = made;
    return made;
  }
  void start(proto::Agent::Stub& stub, method how) {
    (stub.async()->*how)(&context, &request, this);
    ARCA_TSAN_RELEASE(&through_grpc);
    this->AddHold();  // reads are started from elsewhere
    this->StartRead(&message);
    this->StartCall();
  }
  /// Lets the next message come.
  void next() {
    const std::lock_guard guard(calling);
    if (!std::exchange(taken, false)) return;
    ARCA_TSAN_RELEASE(&through_grpc);
    this->StartRead(&message);
  }
  /// No callback runs or comes after it.
  void silence() {
    context.TryCancel();
    const std::lock_guard guard(calling);
    silent = true;
    if (std::exchange(taken, false)) this->RemoveHold();
  }

  void OnReadDone(bool ok) override {
    ARCA_TSAN_ACQUIRE(&through_grpc);
    const std::lock_guard guard(calling);
    if (!ok || silent) return this->RemoveHold();
    taken = true;
    on_message(message);
  }
  void OnDone(const grpc::Status& status) override {
    ARCA_TSAN_ACQUIRE(&through_grpc);
    auto keep = std::move(self);
    const std::lock_guard guard(calling);
    if (!silent)
      on_end(status.ok() ? error{errc::unavailable, "the machine's agent ended the stream"} : to_error(status));
  }
};
}  // namespace calls

struct agent_client::state {
  std::shared_ptr<grpc::Channel> channel;
  std::unique_ptr<calls::proto::Agent::Stub> stub;
  grpc::TemplatedGenericStub<grpc::ByteBuffer, grpc::ByteBuffer> raw{channel};  ///< of the service StdioStream
  std::string container;  ///< whose events it gets; empty: everybody's
  unique_fd socket;       ///< a second descriptor of gRPC's socket, to end it: a finished call may keep the channel
  std::shared_ptr<start_account> account;  ///< of the machine's start; may be null
  /// Of the agent's protocol, as it said in Hello; of the connection.
  std::shared_ptr<std::atomic<uint32_t>> revision = std::make_shared<std::atomic<uint32_t>>(0);

  std::unique_ptr<guarded_socket> guarded;  ///< what gRPC reads

  /// Contexts of open calls, so that the destructor can cancel them.
  std::mutex lock;
  bool closing = false;
  std::vector<grpc::ClientContext*> open;
  std::vector<tunnel_stream*> tunnels;
  std::vector<stdio_stream*> stdios;
  std::shared_ptr<stdio_stream> spare;  ///< open, for the next exec
  unique_fd spare_socket;               ///< its user's end

  explicit state(std::shared_ptr<grpc::Channel> to) : channel(std::move(to)) {}

  std::shared_ptr<calls::reader<calls::proto::EventsRequest, calls::proto::Event>> events;
  std::shared_ptr<calls::reader<calls::proto::Empty, calls::proto::RelayedConnection>> relayed;

  bool add(grpc::ClientContext* context) {
    const std::lock_guard guard(lock);
    if (closing) return false;
    open.push_back(context);
    return true;
  }
  void remove(grpc::ClientContext* context) {
    const std::lock_guard guard(lock);
    std::erase(open, context);
  }
};

namespace calls {

/// One unary call: all that it needs until its callback has run.
template <class Request, class Reply, class State, class Done>
struct unary {
  grpc::ClientContext context;
  Request request;
  Reply reply;
  std::shared_ptr<State> owner;
  Done done;
  start_account::clock::time_point begun = start_account::clock::now();
};

/// "MountRequest" → "Mount".
template <class Request>
std::string name_of_call() {
  const std::string name = Request::descriptor()->name();
  return name.substr(0, name.rfind("Request"));
}

template <class Request, class Reply>
using method = void (proto::Agent::Stub::async::*)(grpc::ClientContext*, const Request*, Reply*,
                                                   std::function<void(grpc::Status)>);

template <class Request, class Reply, class State, class Done>
void start(const std::shared_ptr<State>& owner, method<Request, Reply> how, Request request,
           std::chrono::milliseconds limit, Done done) {
  using call_type = unary<Request, Reply, State, Done>;
  std::unique_ptr<call_type> made(new call_type{{}, std::move(request), {}, owner, std::move(done)});
  made->context.set_deadline(std::chrono::system_clock::now() + limit);
  if (!owner->add(&made->context)) {
    made->done(made->reply, error{errc::cancelled, "the machine is being closed"});
    return;
  }
  // A pointer is all that gRPC carries: what it would copy after this line another thread could see too early.
  auto* call = made.release();
  auto* stub = owner->stub->async();
  ARCA_TSAN_RELEASE(&through_grpc);
  (stub->*how)(&call->context, &call->request, &call->reply, [call](grpc::Status status) {
    ARCA_TSAN_ACQUIRE(&through_grpc);
    const std::unique_ptr<call_type> over(call);
    over->owner->remove(&over->context);
    if (over->owner->account)
      over->owner->account->waited(name_of_call<Request>(), over->begun, start_account::clock::now());
    over->done(over->reply, status.ok() ? error{} : to_error(status));
  });
}

/// Adapts a callback of nothing.
inline auto no_value(agent_client::callback<void> done) {
  return [done = std::move(done)](const proto::Empty&, error e) {
    if (e.code() == errc::none)
      done({});
    else
      done(fail(std::move(e)));
  };
}

}  // namespace calls
}  // namespace arca::vm
