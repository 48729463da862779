#include "http/exchange.hpp"

#include <strings.h>

#include "actors/streams/byte_channel.hpp"

namespace arca::http {
namespace {
bool same_name(std::string_view a, std::string_view b) {
  return a.size() == b.size() && ::strncasecmp(a.data(), b.data(), a.size()) == 0;
}
}  // namespace

std::string_view fields::get(std::string_view name) const {
  for (const auto& f : list_)
    if (same_name(f.name, name)) return f.value;
  return {};
}

bool fields::has(std::string_view name) const {
  for (const auto& f : list_)
    if (same_name(f.name, name)) return true;
  return false;
}

response response::json(int status, std::string text) {
  response r;
  r.status = status;
  r.content_type = "application/json";
  r.body = std::move(text);
  if (r.body.empty() || r.body.back() != '\n') r.body += '\n';
  return r;
}

response response::text(int status, std::string text) {
  response r;
  r.status = status;
  r.content_type = "text/plain; charset=utf-8";
  r.body = std::move(text);
  return r;
}

response response::empty(int status) {
  response r;
  r.status = status;
  return r;
}

response response::sent() {
  response r;
  r.already_sent = true;
  return r;
}

response response::broken() {
  response r = sent();
  r.cut_off = true;
  return r;
}

awaitable<void> call::hijack(std::string head, stream s) {
  co_await begin_hijack(std::move(head));
  co_await run_hijacked(std::move(s));
}

}  // namespace arca::http
