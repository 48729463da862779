#include "persistence/registry/client.hpp"

#include <nlohmann/json.hpp>
#include <optional>

#include "persistence/base/log.hpp"
#include "persistence/base/sha256.hpp"
#include "persistence/registry/answer.hpp"
#include "persistence/registry/endpoint.hpp"

namespace arca::registry {
namespace {
constexpr size_t max_tags = 10'000;
constexpr int max_pages = 200;
constexpr int max_blob_attempts = 50;  // in all, however far each of them came

using response_ptr = std::unique_ptr<http_response>;

// A mirror that fails, in whatever way, leaves it to the next endpoint; but not what we ourselves refuse or were told.
bool next_may_do(const failure& f) {
  return !f.final;
}

tl::unexpected<failure> wrong(std::string message) {
  return give_up(errc::invalid_argument, std::move(message));
}

int64_t first_byte(const std::string& content_range) {  // "bytes 5-9/10"
  if (!content_range.starts_with("bytes ")) return -1;
  int64_t value = -1;
  for (size_t i = 6; i < content_range.size() && content_range[i] >= '0' && content_range[i] <= '9' && i < 24; ++i)
    value = (value < 0 ? 0 : value) * 10 + (content_range[i] - '0');
  return value;
}

std::string next_page(const std::string& link) {  // </v2/x/tags/list?last=b&n=2>; rel="next"
  const auto open = link.find('<'), close = link.find('>');
  if (open == std::string::npos || close == std::string::npos || close < open ||
      link.find("next", close) == std::string::npos)
    return {};
  return link.substr(open + 1, close - open - 1);
}
}  // namespace

struct repository::impl : requester {
  using requester::requester;

  std::mutex active_lock;
  size_t active = 0;
  bool chosen = false;
  std::optional<manifest_text> seen;  // the manifest that came with the answer to the last resolve

  size_t first() {
    const std::lock_guard guard(active_lock);
    return chosen ? active : 0;
  }

  // Runs `work` on the chosen endpoint, or on each until one succeeds.
  template <class Work>
  auto on_endpoints(Work work) -> decltype(work(endpoints[0])) {
    if (broken) return give_up(broken->code(), broken->message());
    failure last;
    for (size_t i = first(); i < endpoints.size(); ++i) {
      auto& at = endpoints[i];
      if (auto there = contact(at); !there) {
        last = there.error();
        if (last.final) break;
        continue;
      }
      auto done = work(at);
      if (done) {
        const std::lock_guard guard(active_lock);
        active = i;
        chosen = true;
        return done;
      }
      last = done.error();
      // The registry itself has answered: what it says counts, not that it does not speak the other scheme.
      if (!at.mirror || !next_may_do(last)) break;
      if (i + 1 < endpoints.size())
        log::info("registry endpoint failed, trying the next", log::kv("endpoint", at.base.string()),
                  log::kv("error", last.what.message()));
    }
    return fail(std::move(last));
  }

  std::string manifest_path(const std::string& tag_or_digest) const {
    return name.path() + "/manifests/" + tag_or_digest;
  }

  outcome<manifest_text> get_manifest(endpoint& at, const std::string& tag_or_digest, bool by_digest) {
    auto answer = send(at, {"GET", manifest_path(tag_or_digest), {{"Accept", manifest_accept()}}});
    if (!answer) return tl::make_unexpected(answer.error());
    if ((*answer)->status() >= 300) return fail(answer_failure(**answer));
    manifest_text out;
    out.media_type = (*answer)->header("Content-Type");
    auto body = (*answer)->read_all(max_document);
    if (!body) return tl::make_unexpected(body.error());
    out.body = std::move(*body);
    out.digest = digest_of(out.body);
    if (by_digest && out.digest != tag_or_digest)
      return wrong("manifest verification failed for digest " + tag_or_digest);
    return out;
  }

  outcome<descriptor> resolve_at(endpoint& at, const std::string& tag_or_digest) {
    const bool by_digest = tag_or_digest.find(':') != std::string::npos;
    auto head = send(at, {"HEAD", manifest_path(tag_or_digest), {{"Accept", manifest_accept()}}});
    if (!head && !head.error().code.empty()) return tl::make_unexpected(head.error());
    if (!head && (head.error().final || head.error().transport || !head.error().retry))
      return tl::make_unexpected(head.error());
    if (head) {
      const auto digest = (*head)->header("Docker-Content-Digest");
      if ((*head)->status() < 300 && parse_digest(digest)) {
        if (by_digest && digest != tag_or_digest)
          return wrong("manifest verification failed for digest " + tag_or_digest);
        descriptor out;
        out.digest = digest;
        out.media_type = (*head)->header("Content-Type");
        out.size = static_cast<uint64_t>(std::max<int64_t>((*head)->content_length(), 0));
        return out;
      }
    }
    // No digest in the header, or an error that only the body of GET explains.
    auto text = get_manifest(at, tag_or_digest, by_digest);
    if (!text) return tl::make_unexpected(text.error());
    descriptor out;
    out.digest = text->digest;
    out.media_type = text->media_type;
    out.size = text->body.size();
    const std::lock_guard guard(active_lock);
    seen = std::move(*text);
    return out;
  }

  // From byte `got` to the end; `got` moves on.
  outcome<void> blob_pass(endpoint& at, const descriptor& d, uint64_t& got, const sink& into) {
    ask what{"GET", name.path() + "/blobs/" + d.digest, {}};
    if (got > 0) what.headers.emplace_back("Range", "bytes=" + std::to_string(got) + '-');
    auto answer = send_once(at, what);
    if (!answer) return tl::make_unexpected(answer.error());
    const int status = (*answer)->status();
    if (status >= 300) return fail(answer_failure(**answer));
    uint64_t skip = 0;  // a registry without ranges begins again
    if (status == 206) {
      if (first_byte((*answer)->header("Content-Range")) != static_cast<int64_t>(got))
        return wrong("the registry answered with another range of blob " + d.digest + " than was asked for");
    } else {
      skip = got;
    }
    const uint64_t rest = d.size - got + skip;
    const auto announced = (*answer)->content_length();
    if (announced >= 0 && static_cast<uint64_t>(announced) != rest)
      return wrong("wrong length of blob " + d.digest + ": the registry announces " + std::to_string(announced) +
                   " bytes, the manifest says " + std::to_string(rest));
    for (;;) {
      auto piece = (*answer)->read();
      if (!piece) return tl::make_unexpected(piece.error());
      if (piece->empty()) break;
      auto bytes = *piece;
      const auto cut = std::min<uint64_t>(skip, bytes.size());
      bytes.remove_prefix(cut);
      skip -= cut;
      if (bytes.size() > d.size - got)
        return wrong("wrong length of blob " + d.digest + ": more bytes than the manifest's " + std::to_string(d.size));
      if (bytes.empty()) continue;
      if (auto ok = into(bytes); !ok) return give_up(ok.error().code(), ok.error().message());
      got += bytes.size();
    }
    if (got < d.size)
      return wrong("wrong length of blob " + d.digest + ": " + std::to_string(got) + " bytes, the manifest says " +
                   std::to_string(d.size));
    return {};
  }

  outcome<void> blob_at(endpoint& at, const descriptor& d, uint64_t& got, const sink& into, const on_retry& retrying) {
    int fruitless = 0;
    for (int attempt = 1;; ++attempt) {
      const auto before = got;
      auto pass = blob_pass(at, d, got, into);
      if (pass) return pass;
      auto& why = pass.error();
      fruitless = got > before ? 1 : fruitless + 1;
      const int limit = why.stalled ? std::min(options.attempts, 3) : options.attempts;
      if (why.final || !(why.retry || why.transport) || fruitless >= limit || attempt >= max_blob_attempts) return pass;
      log::info("blob download broke off and goes on", log::kv("digest", d.digest),
                log::kv("at", static_cast<int64_t>(got)), log::kv("error", why.what.message()));
      if (auto slept = pause(fruitless + 1, why, retrying); !slept) return slept;
    }
  }
};

repository::repository(client_options options, const reference& name, credentials who, const stop_signal& stop)
    : self_(std::make_unique<impl>(std::move(options), name, std::move(who), stop)) {}
repository::~repository() = default;

outcome<descriptor> repository::resolve(const std::string& tag_or_digest) {
  {
    const std::lock_guard guard(self_->active_lock);
    self_->seen.reset();
  }
  return self_->on_endpoints([&](endpoint& at) { return self_->resolve_at(at, tag_or_digest); });
}

outcome<manifest_text> repository::manifest(const std::string& digest) {
  {
    const std::lock_guard guard(self_->active_lock);
    if (self_->seen && self_->seen->digest == digest) return *self_->seen;
  }
  return self_->on_endpoints([&](endpoint& at) { return self_->get_manifest(at, digest, true); });
}

outcome<std::vector<std::string>> repository::tags() {
  return self_->on_endpoints([&](endpoint& at) -> outcome<std::vector<std::string>> {
    std::vector<std::string> out;
    std::string path = self_->name.path() + "/tags/list";
    for (int page = 0; page < max_pages; ++page) {
      auto answer = self_->send(at, {"GET", path, {}});
      if (!answer) return tl::make_unexpected(answer.error());
      if ((*answer)->status() >= 300) return fail(answer_failure(**answer));
      const auto link = next_page((*answer)->header("Link"));
      auto body = (*answer)->read_all(max_document);
      if (!body) return tl::make_unexpected(body.error());
      const auto document = nlohmann::json::parse(*body, nullptr, false);
      if (!document.is_object() || !document.contains("tags") ||
          !(document["tags"].is_array() || document["tags"].is_null()))
        return wrong("the registry's list of tags is not in the form of the distribution protocol");
      for (const auto& tag : document["tags"])
        if (tag.is_string() && out.size() < max_tags) out.push_back(tag.get<std::string>());
      if (link.empty()) return out;
      auto next = resolve_url(at.base, link);
      const auto prefix = at.base.target + "v2/";
      if (!next || !next->same_origin(at.base) || !next->target.starts_with(prefix))
        return wrong("the registry's list of tags goes on elsewhere: " + link);
      path = next->target.substr(prefix.size());
    }
    return out;
  });
}

outcome<std::string> repository::blob_text(const descriptor& d) {
  if (d.size > max_document)
    return wrong("blob " + d.digest + " is longer than " + std::to_string(max_document) + " bytes");
  std::string out;
  auto got = blob(d, [&](std::string_view bytes) -> result<void> {
    out += bytes;
    return {};
  });
  if (!got) return tl::make_unexpected(got.error());
  if (digest_of(out) != d.digest) return wrong("blob verification failed for digest " + d.digest);
  return out;
}

outcome<void> repository::blob(const descriptor& d, const sink& into, const on_retry& retrying) {
  uint64_t got = 0;
  return self_->on_endpoints([&](endpoint& at) { return self_->blob_at(at, d, got, into, retrying); });
}

}  // namespace arca::registry
