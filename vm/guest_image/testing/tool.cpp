// guest_image_tool DATA_ROOT AGENT [DEB]: `arca setup` for those who have not built the daemon.
#include <cstdio>

#include "vm/guest_image/guest_image.hpp"
#include "vm/guest_image/setup.hpp"

int main(int argc, char** argv) {
  if (argc < 3) return std::fprintf(stderr, "usage: guest_image_tool DATA_ROOT AGENT [DEB]\n"), 2;
  arca::vm::setup_order order;
  order.data_root = argv[1];
  order.agent_path = argv[2];
  if (argc > 3) order.package_file = argv[3];
  order.note = [](const std::string& text) { std::fprintf(stderr, "%s\n", text.c_str()); };
  const auto done = arca::vm::set_up_guest(order);
  const arca::result<arca::vm::guest_image> guest =
      done ? arca::vm::find_guest(order.data_root) : arca::fail(done.error());
  if (!guest) return std::fprintf(stderr, "%s\n", guest.error().message().c_str()), 1;
  std::printf("%s\n%s\n", guest->kernel.c_str(), guest->initrd.c_str());
  return 0;
}
