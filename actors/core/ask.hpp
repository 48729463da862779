// co_await ask(port, actor, options, message): from an Asio coroutine to an actor and back, without a thread waiting.
// One port per single-threaded io_context. The port is a passive actor: the answer is queued on the responder's thread
// and drained on the io thread. Deadlines are one Asio timer per port, never CAF's (those are not cancelled by the
// answer).
//
//   ask_options o; o.deadline = 30s;
//   result<created_container> made = co_await ask(port, manager, o, std::move(message));
#pragma once
#include <boost/asio/awaitable.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <caf/actor_cast.hpp>
#include <caf/detail/implicit_conversions.hpp>
#include <caf/fwd.hpp>
#include <caf/mailbox_element.hpp>
#include <caf/no_stages.hpp>
#include <caf/response_type.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>

#include "actors/core/errors.hpp"

namespace boost::asio {
class io_context;
}

namespace arca {

class ask_port;

/// Lets the edge give up one open ask, which then answers errc::cancelled. Used on the port's io thread only.
class ask_canceller {
 public:
  void cancel();

 private:
  friend class ask_port;
  ask_port* port_ = nullptr;
  uint64_t id_ = 0;
};

struct ask_options {
  std::chrono::milliseconds deadline{0};  ///< then errc::timeout; 0: none
  /// The actor's handler may run on this io thread, which saves two thread switches. Only for managers whose handler is
  /// short and never waits; actors that it wakes in turn run on CAF's threads as ever.
  bool on_this_thread = false;
  ask_canceller* canceller = nullptr;  ///< must outlive the ask
};

class ask_port {
 public:
  ask_port(caf::actor_system& system, boost::asio::io_context& io);
  ~ask_port();  ///< open asks are destroyed without being resumed

  struct outcome {
    caf::mailbox_element_ptr reply;  ///< null: `failure` says why
    errc failure = errc::none;
  };
  /// The untyped form that every ask() shares, so that it is compiled once.
  boost::asio::awaitable<outcome> send(caf::strong_actor_ptr to, caf::mailbox_element_ptr request, ask_options options);
  uint64_t next_id();
  const caf::strong_actor_ptr& self() const;
  size_t open() const;  ///< asks without an answer yet

  struct state;

 private:
  friend class ask_canceller;
  std::unique_ptr<state> state_;
};

namespace detail {
template <class List>
struct ask_value;
template <>
struct ask_value<caf::detail::type_list<>> {
  using type = void;
};
template <>
struct ask_value<caf::detail::type_list<void>> {
  using type = void;
};
template <>
struct ask_value<caf::detail::type_list<caf::unit_t>> {
  using type = void;
};
template <class T>
struct ask_value<caf::detail::type_list<T>> {
  using type = T;
};

/// The error in an outcome, if it is one.
std::optional<error> ask_failure(ask_port::outcome& o);
error unexpected_answer();

template <class T>
result<T> ask_result(ask_port::outcome o) {
  if (auto failure = ask_failure(o)) return fail(std::move(*failure));
  if constexpr (std::is_void_v<T>) {
    return {};
  } else {
    auto& content = o.reply->content();
    if (!content.template match_elements<T>()) return fail(unexpected_answer());
    return content.template move_if_unshared<T>(0);
  }
}
ask_port::outcome ask_sync_raw(caf::actor_system& system, const caf::strong_actor_ptr& to,
                               std::chrono::milliseconds deadline,
                               const std::function<caf::mailbox_element_ptr(caf::strong_actor_ptr)>& make);
}  // namespace detail

/// What `Handle` answers to `Message`; a message it does not know is a compile error.
template <class Handle, class Message>
using ask_value_t = typename detail::ask_value<caf::response_type_t<
    typename Handle::signatures, typename caf::detail::implicit_conversions<std::decay_t<Message>>::type>>::type;

template <class Handle, class Message>
boost::asio::awaitable<result<ask_value_t<Handle, Message>>> ask(ask_port& port, Handle to, ask_options options,
                                                                 Message message) {
  auto envelope =
      caf::make_mailbox_element(port.self(), caf::make_message_id(port.next_id()), caf::no_stages, std::move(message));
  co_return detail::ask_result<ask_value_t<Handle, Message>>(
      co_await port.send(caf::actor_cast<caf::strong_actor_ptr>(to), std::move(envelope), options));
}

/// For threads that may wait (main, tests): never inside an actor or an io thread.
template <class Handle, class Message>
result<ask_value_t<Handle, Message>> ask_sync(caf::actor_system& system, const Handle& to,
                                              std::chrono::milliseconds deadline, Message message) {
  return detail::ask_result<ask_value_t<Handle, Message>>(detail::ask_sync_raw(
      system, caf::actor_cast<caf::strong_actor_ptr>(to), deadline, [&](caf::strong_actor_ptr from) {
        return caf::make_mailbox_element(std::move(from), caf::make_message_id(1), caf::no_stages, std::move(message));
      }));
}

}  // namespace arca
