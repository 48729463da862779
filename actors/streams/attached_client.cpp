#include "actors/streams/attached_client.hpp"

#include <algorithm>

#include "actors/streams/mux_frame.hpp"

namespace arca {

namespace {
constexpr size_t chunk_limit = 64u << 10;
}

batch make_chunks(std::span<const output_record> records, output_view view) {
  // The size first, so that small output gets a small buffer.
  size_t left = 0;
  for (const auto& r : records)
    if (view.wants(r.stream)) left += r.bytes.size() + (view.framed ? mux_header_size : 0);
  batch chunks;
  std::shared_ptr<std::string> text;
  size_t frame = 0;  // where the open frame begins in text
  int open_stream = 0;
  const auto close_frame = [&] {
    if (open_stream != 0 && view.framed)
      put_mux_header(text->data() + frame, open_stream, text->size() - frame - mux_header_size);
    open_stream = 0;
  };
  for (const auto& r : records) {
    if (!view.wants(r.stream) || r.bytes.empty()) continue;
    const size_t needed = r.bytes.size() + (view.framed && r.stream != open_stream ? mux_header_size : 0);
    if (!text || text->size() + needed > chunk_limit) {
      if (text) {
        close_frame();
        chunks.push_back(std::move(text));
      }
      text = std::make_shared<std::string>();
      text->reserve(std::min(left, chunk_limit));
    }
    if (view.framed && r.stream != open_stream) {
      close_frame();
      frame = text->size();
      text->append(mux_header_size, '\0');
    }
    open_stream = r.stream;
    text->append(r.bytes);
    left -= r.bytes.size() + (view.framed ? mux_header_size : 0);
  }
  if (text) {
    close_frame();
    chunks.push_back(std::move(text));
  }
  return chunks;
}

detach_scanner::detach_scanner(std::string keys) : keys_(std::move(keys)) {
  keys_.resize(std::min<size_t>(keys_.size(), 255));
  fallback_.assign(keys_.size() + 1, '\0');
  for (size_t i = 1, k = 0; i < keys_.size(); ++i) {
    while (k > 0 && keys_[i] != keys_[k]) k = static_cast<unsigned char>(fallback_[k]);
    if (keys_[i] == keys_[k]) ++k;
    fallback_[i + 1] = static_cast<char>(k);
  }
}

bool detach_scanner::feed(std::string_view input, std::string& pass) {
  for (const char c : input) {
    while (matched_ > 0 && c != keys_[matched_]) {
      const auto shorter = static_cast<size_t>(static_cast<unsigned char>(fallback_[matched_]));
      pass.append(keys_, 0, matched_ - shorter);  // held back so far, now known to be ordinary input
      matched_ = shorter;
    }
    if (c != keys_[matched_]) {
      pass += c;
    } else if (++matched_ == keys_.size()) {
      matched_ = 0;
      return true;
    }
  }
  return false;
}

}  // namespace arca
