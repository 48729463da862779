#include "guest/vm/init.hpp"

#include <grpc/support/time.h>
#include <sys/reboot.h>
#include <unistd.h>

#include <cstdlib>
#include <exception>
#include <utility>

#include "guest/agent.hpp"
#include "guest/agent_log.hpp"
#include "guest/agent_service.hpp"
#include "guest/channel/port_channel.hpp"
#include "guest/native_launcher.hpp"
#include "guest/net_config.hpp"
#include "guest/proto/vm_start.hpp"
#include "guest/startup.hpp"
#include "guest/vm/boot.hpp"
#include "guest/vm/calls.hpp"
#include "guest/vm/kernel_modules.hpp"
#include "persistence/base/fs.hpp"

#ifdef ARCA_DIRECT_PORT
/// src/core/lib/gpr/time_posix.cc of gRPC 1.51 (direct_port.cpp asserts the version): every clock of gRPC goes through
/// it.
extern gpr_timespec (*gpr_now_impl)(gpr_clock_type which);
#endif

namespace arca::guest {
namespace {
constexpr const char* modules_folder = "/lib/modules";

#ifdef ARCA_DIRECT_PORT
gpr_timespec (*real_now)(gpr_clock_type) = nullptr;

gpr_timespec now_ahead(gpr_clock_type which) {
  gpr_timespec now = real_now(which);
  if (which == GPR_CLOCK_MONOTONIC) now.tv_sec += 100;
  return now;
}
#endif

// gRPC 1.51 sleeps when it starts until the monotonic clock is past 2 s, and a fresh machine is younger than that. It
// uses the clock for differences only.
void set_grpc_clock() {
#ifdef ARCA_DIRECT_PORT
  real_now = std::exchange(gpr_now_impl, now_ahead);
#endif
}

std::unique_ptr<port_channel> make_channel(loop& on, unique_fd port, port_channel::serve serve) {
#ifdef ARCA_DIRECT_PORT
  if (kernel_word("arca.channel") != "bridge") return direct_port(on, std::move(port), std::move(serve));
#endif
  return bridge_port(on, std::move(port), std::move(serve));
}

// Never returns without an error: the loop's end is the machine's.
result<void> serve() {
  ARCA_CHECK(mount_everything());
  log().open_console("/dev/console");
  raise_limits();
  const uevents news;
  auto order = fs::read_file(std::string(modules_folder) + "/order", 1u << 20);
  if (!order) return fail(order.error());
  kernel_modules modules(*order, modules_folder);
  ARCA_CHECK(modules.load_first());
  report_small_blocks();
  ARCA_CHECK(bring_up_loopback());
  ARCA_TRY(port, open_port(news));

  set_grpc_clock();
  loop main_loop;
  worker threads(main_loop);
  agent_setup setup;
  setup.machine_dir = vm_start::machine_dir;
  setup.own_kernel = true;
  agent what(main_loop, std::move(setup), [](loop& on, reaper& children, const std::string& folder) {
    return std::make_unique<native_launcher>(on, children, folder);
  });
  vm_calls calls(what, threads, modules);
  std::unique_ptr<port_channel> channel;
  agent_service service(main_loop, what, threads, &calls, [&] {
    channel->flush();  // the answer to Shutdown
    main_loop.stop(0);
  });
  ARCA_CHECK(service.prepare());
  channel = make_channel(main_loop, std::move(port), [&](unique_fd it) { service.serve(std::move(it)); });
  main_loop.run();
  power_off({});
}
}  // namespace

void run_as_init() {
  reboot(RB_DISABLE_CAD);
  clearenv();
  setenv("GRPC_POLL_STRATEGY", "epoll1", 1);  // direct_port knows how this one uses its descriptors
  become_supervisor();
  be_patient();
  be_small(2 << 20);  // tunnels take and give 256 KiB all the time, and a fresh page is dear in a VM
  try {
    power_off(serve().error().message());
  } catch (const std::exception& e) {
    power_off(e.what());
  }
}

}  // namespace arca::guest
