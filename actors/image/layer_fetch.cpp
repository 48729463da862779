#include "actors/image/layer_fetch.hpp"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <set>
#include <thread>

namespace arca {
namespace {
// Docker fetches three at a time. Unpacking is what costs here, and every layer brings its own threads: more than the
// machine has cores do not make it faster, but hide the registry's latency.
constexpr size_t at_a_time = 4;
constexpr const char* fetching = "Downloading";

std::string shown_id(const std::string& digest) { return images::hex_of(digest).substr(0, 12); }

class fetcher {
 public:
  fetcher(registry::repository& from, images::layer_store& into, progress_output& output, registry::stop_signal& stop)
      : from_(from), into_(into), output_(output), stop_(stop) {}

  registry::outcome<void> run(std::vector<wanted_layer> layers) {
    std::set<std::string> announced;
    for (const auto& layer : layers) {
      // One blob may be several layers of an image; its lines are shown once.
      todo_.push_back({layer, announced.insert(layer.blob.digest).second});
      if (todo_.back().shown) output_.state(shown_id(layer.blob.digest), "Pulling fs layer");
    }
    for (size_t i = at_a_time; i < todo_.size(); ++i)
      if (todo_[i].shown) output_.state(shown_id(todo_[i].layer.blob.digest), "Waiting");
    std::vector<std::thread> threads;
    for (size_t i = 1; i < std::min(at_a_time, todo_.size()); ++i) threads.emplace_back([this] { work(); });
    work();
    for (auto& t : threads) t.join();
    if (failure_) return tl::make_unexpected(*failure_);
    return {};
  }

 private:
  struct item {
    wanted_layer layer;
    bool shown;
  };

  void work() noexcept {
    for (;;) {
      const auto mine = next_.fetch_add(1);
      if (mine >= todo_.size() || stop_.requested()) return;
      auto done = fetch(todo_[mine]);
      if (done) continue;
      const std::lock_guard guard(lock_);
      if (!failure_) failure_ = done.error();
      stop_.request();
      return;
    }
  }

  registry::outcome<void> fetch(const item& what) {
    bool resumed = false;
    auto done = fetch_once(what, resumed);
    // Bytes that were put together from two answers and do not fit may be the fault of the seam: once more from the start.
    if (!done && resumed && !stop_.requested() && done.error().what.code() == errc::invalid_argument) done = fetch_once(what, resumed);
    return done;
  }

  registry::outcome<void> fetch_once(const item& what, bool& resumed) {
    const auto& blob = what.layer.blob;
    const auto id = shown_id(blob.digest);
    const auto total = static_cast<int64_t>(blob.size);
    images::layer_expectation expected;
    expected.blob_digest = blob.digest;
    expected.blob_size = blob.size;
    expected.diff_id = what.layer.diff_id;
    expected.blob_media_type = blob.media_type;
    auto writer = into_.begin(expected);
    if (!writer) return fail(writer.error());
    int64_t current = 0;
    const auto take = [&](std::string_view bytes) -> result<void> {
      ARCA_CHECK((*writer)->feed(bytes));
      current += static_cast<int64_t>(bytes.size());
      if (what.shown) output_.bytes(id, fetching, current, total);
      return {};
    };
    const auto retrying = [&](int seconds) {
      resumed = true;
      if (what.shown) output_.state(id, "Retrying in " + std::to_string(seconds) + (seconds == 1 ? " second" : " seconds"));
    };
    auto got = from_.blob(blob, take, retrying);
    if (!got) return got;
    if (what.shown) output_.state(id, "Verifying Checksum");
    if (auto ok = (*writer)->finish(); !ok) return fail(ok.error());
    if (what.shown) {
      output_.state(id, "Download complete");
      output_.bytes(id, "Extracting", total, total);
    }
    if (auto ok = (*writer)->commit(what.layer.chain_id, true); !ok) return fail(ok.error());
    if (what.shown) output_.state(id, "Pull complete");
    return {};
  }

  static tl::unexpected<registry::failure> fail(const error& why) { return registry::give_up(why.code(), why.message()); }

  registry::repository& from_;
  images::layer_store& into_;
  progress_output& output_;
  registry::stop_signal& stop_;
  std::vector<item> todo_;
  std::atomic<size_t> next_{0};
  std::mutex lock_;
  std::optional<registry::failure> failure_;
};
}  // namespace

registry::outcome<void> fetch_layers(registry::repository& from, images::layer_store& into,
                                     const std::vector<wanted_layer>& layers, progress_output& output,
                                     registry::stop_signal& stop) {
  std::vector<wanted_layer> missing;
  for (const auto& layer : layers) {
    if (into.find(layer.chain_id)) output.state(shown_id(layer.blob.digest), "Already exists");
    else missing.push_back(layer);
  }
  if (missing.empty()) return {};
  return fetcher(from, into, output, stop).run(std::move(missing));
}

}  // namespace arca
