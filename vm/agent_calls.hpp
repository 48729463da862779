// Inside of agent_client: its state, and how one unary call is made. Only for agent_client's own sources.
#pragma once
#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <memory>
#include <mutex>
#include <vector>

#include "guest/proto/agent.grpc.pb.h"
#include "persistence/base/tsan.hpp"
#include "persistence/base/unique_fd.hpp"
#include "vm/agent_client.hpp"
#include "vm/channel/tunnel_stream.hpp"

namespace arca::vm {

namespace calls {
namespace proto = arca::agent::v1;

error to_error(const grpc::Status& status);

/// What is told of happens-before edges through gRPC (persistence/base/tsan.hpp). One for all calls, because reading a
/// callback's captures to find its own would be the first report.
[[maybe_unused]] inline char through_grpc;
}  // namespace calls

struct agent_client::state {
  std::shared_ptr<grpc::Channel> channel;
  std::unique_ptr<calls::proto::Agent::Stub> stub;
  std::string container;  ///< whose events it gets; empty: everybody's
  unique_fd socket;       ///< a second descriptor of gRPC's socket, to end it: a finished call may keep the channel

  /// Contexts of open calls, so that the destructor can cancel them.
  std::mutex lock;
  bool closing = false;
  std::vector<grpc::ClientContext*> open;
  std::vector<tunnel_stream*> tunnels;

  struct event_reader;
  std::shared_ptr<event_reader> events;

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
};

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
