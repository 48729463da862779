#include "vm/channel/pump_loop.hpp"

#include <pthread.h>

#include <csignal>
#include <thread>

namespace arca::vm {

guest::loop& pump_loop() {
  static auto* const running = [] {
    auto* made = new guest::loop;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);  // signals are for the threads that wait for them
    std::thread([made] {
      pthread_setname_np(pthread_self(), "arca-tunnels");
      made->run();
    }).detach();
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    return made;
  }();
  return *running;
}

}  // namespace arca::vm
