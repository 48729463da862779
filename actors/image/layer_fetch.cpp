#include "actors/image/layer_fetch.hpp"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <mutex>
#include <set>
#include <system_error>
#include <thread>

#include "persistence/base/sha256.hpp"

namespace arca {
namespace {
// Docker fetches three at a time. Unpacking is what costs here, and every layer brings its own threads: more than the
// machine has cores do not make it faster, but hide the registry's latency.
constexpr size_t at_a_time = 4;
constexpr const char* fetching = "Downloading";

// Not the client, and not the disk (archive errors and errno's share a code; these are the ones that a full or failing
// disk gives).
bool is_about_content(const error& e) {
  if (e.code() == errc::cancelled) return false;
  for (const int number : {ENOSPC, EDQUOT, EIO, EROFS, ENOMEM, EMFILE, ENFILE}) {
    if (e.message().ends_with(std::generic_category().message(number))) return false;
  }
  return true;
}

std::string shown_id(const std::string& digest) {
  return images::hex_of(digest).substr(0, 12);
}

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
    progress_of_fetch so_far;
    auto done = fetch_once(what, so_far);
    if (done || stop_.requested() || !so_far.content_refused) return done;
    // Bytes that were put together from several answers and do not fit may be the fault of the seam: once more.
    if (so_far.resumed) {
      so_far = {};
      done = fetch_once(what, so_far);
      if (done || stop_.requested() || !so_far.content_refused) return done;
    }
    return blame(what.layer.blob, std::move(done));
  }

  // Why was the content refused? Damaged data often breaks the decompression before its digest is complete: look at the
  // digest alone, so that a registry that sends something else is named as that.
  registry::outcome<void> blame(const registry::descriptor& blob, registry::outcome<void> refused) {
    sha256 hash;
    const auto got = from_.blob(blob, [&](std::string_view bytes) -> result<void> {
      hash.update(bytes);
      return {};
    });
    if (!got) return got;
    if ("sha256:" + hash.hex() != blob.digest)
      return registry::give_up(errc::invalid_argument,
                               "filesystem layer verification failed for digest " + blob.digest);
    return refused;
  }

  struct progress_of_fetch {
    bool resumed = false, content_refused = false;
  };

  registry::outcome<void> fetch_once(const item& what, progress_of_fetch& so_far) {
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
      if (auto fed = (*writer)->feed(bytes); !fed) {
        so_far.content_refused = is_about_content(fed.error());
        return fed;
      }
      current += static_cast<int64_t>(bytes.size());
      if (what.shown) output_.bytes(id, fetching, current, total);
      return {};
    };
    const auto retrying = [&](int seconds) {
      so_far.resumed = true;
      if (what.shown)
        output_.state(id, "Retrying in " + std::to_string(seconds) + (seconds == 1 ? " second" : " seconds"));
    };
    auto got = from_.blob(blob, take, retrying);
    if (!got) return got;
    if (what.shown) output_.state(id, "Verifying Checksum");
    if (auto ok = (*writer)->finish(); !ok) {
      so_far.content_refused = is_about_content(ok.error());
      return fail(ok.error());
    }
    if (what.shown) {
      output_.state(id, "Download complete");
      output_.bytes(id, "Extracting", total, total);
    }
    if (auto ok = (*writer)->commit(what.layer.chain_id); !ok) return fail(ok.error());
    if (what.shown) output_.state(id, "Pull complete");
    return {};
  }

  static tl::unexpected<registry::failure> fail(const error& why) {
    return registry::give_up(why.code(), why.message());
  }

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
    if (into.find(layer.chain_id))
      output.state(shown_id(layer.blob.digest), "Already exists");
    else
      missing.push_back(layer);
  }
  if (missing.empty()) return {};
  return fetcher(from, into, output, stop).run(std::move(missing));
}

}  // namespace arca
