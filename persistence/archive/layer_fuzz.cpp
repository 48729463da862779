// libFuzzer: any bytes as an image layer or a docker cp archive, unpacked into a folder beside a canary. No crash,
// nothing outside the folder, no more content than the limits allow. The first byte chooses the mode and how the bytes
// are cut.
#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>

#include "persistence/archive/extractor.hpp"
#include "persistence/base/fs.hpp"

using namespace arca;

namespace {

struct scratch {
  std::string base = "/dev/shm/arca-layer-fuzz-" + std::to_string(::getpid());
  scratch() {
    if (!fs::make_dirs(base + "/outside", 0755) || !fs::write_file_atomic(base + "/outside/canary", "alive"))
      std::abort();
  }
  ~scratch() { static_cast<void>(fs::remove_tree(base)); }
  bool untouched() const {
    const auto outside = fs::list(base + "/outside"), all = fs::list(base);
    return outside && outside->size() == 1 && all && all->size() == 2 &&
           fs::read_file(base + "/outside/canary").value_or("") == "alive";
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const scratch at;
  if (size == 0) return 0;
  std::string_view rest(reinterpret_cast<const char*>(data) + 1, size - 1);
  const size_t step = (data[0] & 2) != 0 ? 512 : 4096;
  archive::extract_options options;
  options.mode = (data[0] & 1) != 0 ? archive::extract_mode::layer : archive::extract_mode::plain;
  options.best_effort_xattrs = true;
  options.limits = {.max_bytes = 1u << 20, .max_entries = 200, .max_depth = 40, .max_metadata = 1u << 16};
  const auto root = at.base + "/root";
  if (!fs::make_dirs(root, 0755)) std::abort();
  {
    const auto fd = fs::open(root, O_RDONLY | O_DIRECTORY);
    if (!fd) std::abort();
    const archive::byte_source source = [&]() -> result<std::string_view> {
      const auto piece = rest.substr(0, step);
      rest.remove_prefix(piece.size());
      return piece;
    };
    const auto done = archive::extract(fd->get(), source, options);
    if (done && (done->content > options.limits.max_bytes || done->entries > options.limits.max_entries)) std::abort();
  }
  if (!at.untouched()) std::abort();
  if (!fs::remove_tree(root)) std::abort();
  return 0;
}
