// MACHINE_DIR/stdio.sock: takes the daemon's connections, reads their hello and hands them to the process they name, or
// keeps the descriptor that came along (guest/proto/stdio_frame.hpp).
#pragma once
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <string>
#include <unordered_map>

#include "guest/loop.hpp"
#include "guest/process_stdio.hpp"
#include "guest/proto/stdio_frame.hpp"
#include "guest/stdio_connection.hpp"

namespace arca::guest {

class stdio_server {
 public:
  static constexpr size_t max_connections = 256;  ///< whose hello is incomplete or whose process has not started
  static constexpr size_t max_kept = 512;         ///< descriptors waiting for the call that uses them

  /// `listener` is listening, or empty: connections come by adopt() only. `accept_generation` says whether a daemon of
  /// this generation may still speak. `find` gives the process's stdio or null.
  stdio_server(loop& on, unique_fd listener, std::function<bool(uint64_t)> accept_generation,
               std::function<process_stdio*(const std::string& container, const std::string& process)> find);
  stdio_server(const stdio_server&) = delete;
  stdio_server& operator=(const stdio_server&) = delete;
  ~stdio_server();

  /// Takes a connection whose hello was read otherwise. False: the hello is refused, or too many wait; the connection
  /// has ended then.
  bool adopt(const stdio::hello& hello, std::unique_ptr<stdio_connection> connection);
  /// Keeps a descriptor as if it had been sent. False: too many are kept, or the token is empty.
  bool keep(const std::string& token, unique_fd what);
  /// The descriptor that was sent under this token; empty if there is none. It is then the caller's.
  unique_fd take(const std::string& token);
  /// A process was made: a connection that came for it before is attached.
  void made(const std::string& container, const std::string& process, process_stdio& stdio);

 private:
  /// Whose hello is not whole.
  struct connection {
    unique_fd socket;
    unique_fd passed;
    stdio::hello hello;
    size_t have = 0;
    loop::timer_id limit = 0;
  };
  /// Whose process is not there yet.
  struct waiting {
    stdio::hello hello;
    std::unique_ptr<stdio_connection> connection;
    loop::timer_id limit = 0;
  };
  bool accept(unique_fd socket);
  void on_listener();
  void on_readable(int socket);
  void greet(connection& from);
  bool accepts(const stdio::hello& hello) const;
  void keep(connection& from);
  void drop(int socket);
  connection release(int socket);
  void drop(std::list<waiting>::iterator which);

  loop& loop_;
  unique_fd listener_;
  std::function<bool(uint64_t)> accept_generation_;
  std::function<process_stdio*(const std::string&, const std::string&)> find_;
  std::unordered_map<int, connection> connections_;
  std::list<waiting> waiting_;
  std::map<std::string, unique_fd> kept_;
};

}  // namespace arca::guest
