#include "persistence/images/decoder.hpp"

#include <isa-l/igzip_lib.h>
#include <zstd.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

namespace arca::images {
namespace {

constexpr size_t piece_size = 256u << 10;

class gzip_decoder final : public decoder {
 public:
  explicit gzip_decoder(archive::byte_source source)
      : source_(std::move(source)), state_(std::make_unique<inflate_state>()) {
    start_member();
  }

  result<size_t> read(char* to, size_t size) override {
    state_->next_out = reinterpret_cast<uint8_t*>(to);
    state_->avail_out = static_cast<uint32_t>(size);
    while (state_->avail_out > 0 && !ended_) {
      if (state_->avail_in == 0 && !input_ended_) ARCA_CHECK(refill());
      if (state_->block_state == ISAL_BLOCK_FINISH) {
        ARCA_CHECK(next_member());
        continue;
      }
      const uint32_t out_before = state_->avail_out;
      const int code = isal_inflate(state_.get());
      if (code != ISAL_DECOMP_OK && code != ISAL_END_INPUT) return fail(archive::bad_archive, "gzip: invalid data");
      if (input_ended_ && state_->avail_in == 0 && state_->avail_out == out_before &&
          state_->block_state != ISAL_BLOCK_FINISH)
        return fail(archive::bad_archive, "unexpected EOF");
    }
    return size - state_->avail_out;
  }

 private:
  void start_member() {
    uint8_t* const in = state_->next_in;
    const uint32_t in_size = state_->avail_in;
    uint8_t* const out = state_->next_out;
    const uint32_t out_size = state_->avail_out;
    isal_inflate_init(state_.get());
    state_->crc_flag = ISAL_GZIP;  // header read, checksum verified
    state_->next_in = in;
    state_->avail_in = in_size;
    state_->next_out = out;
    state_->avail_out = out_size;
  }

  result<void> refill() {
    ARCA_TRY(piece, source_());
    if (piece.empty()) {
      input_ended_ = true;
      return {};
    }
    state_->next_in = reinterpret_cast<uint8_t*>(const_cast<char*>(piece.data()));
    state_->avail_in = static_cast<uint32_t>(piece.size());
    return {};
  }

  /// After a member: the end, padding with zeros, or another member.
  result<void> next_member() {
    while (true) {
      if (state_->avail_in == 0) {
        if (!input_ended_) ARCA_CHECK(refill());
        if (input_ended_) {
          ended_ = true;
          return {};
        }
      }
      if (*state_->next_in != 0) break;
      padding_ = true;
      ++state_->next_in;
      --state_->avail_in;
    }
    if (padding_ || *state_->next_in != 0x1f) return fail(archive::bad_archive, "gzip: invalid header");
    start_member();
    return {};
  }

  archive::byte_source source_;
  std::unique_ptr<inflate_state> state_;
  bool input_ended_ = false, ended_ = false, padding_ = false;
};

class zstd_decoder final : public decoder {
 public:
  explicit zstd_decoder(archive::byte_source source) : source_(std::move(source)), stream_(ZSTD_createDStream()) {
    ZSTD_initDStream(stream_.get());
  }

  result<size_t> read(char* to, size_t size) override {
    ZSTD_outBuffer out{to, size, 0};
    while (out.pos < out.size) {
      if (in_.pos == in_.size && !input_ended_) {
        ARCA_TRY(piece, source_());
        input_ended_ = piece.empty();
        in_ = {piece.data(), piece.size(), 0};
      }
      if (input_ended_ && in_.pos == in_.size && frame_ended_) break;
      const size_t before_out = out.pos, before_in = in_.pos;
      const size_t code = ZSTD_decompressStream(stream_.get(), &out, &in_);
      if (ZSTD_isError(code) != 0) return fail(archive::bad_archive, std::string("zstd: ") + ZSTD_getErrorName(code));
      frame_ended_ = code == 0;
      if (input_ended_ && !frame_ended_ && out.pos == before_out && in_.pos == before_in)
        return fail(archive::bad_archive, "unexpected EOF");
    }
    return out.pos;
  }

 private:
  struct free_stream {
    void operator()(ZSTD_DStream* s) const { ZSTD_freeDStream(s); }
  };
  archive::byte_source source_;
  std::unique_ptr<ZSTD_DStream, free_stream> stream_;
  ZSTD_inBuffer in_{nullptr, 0, 0};
  bool input_ended_ = false, frame_ended_ = false;
};

class filter_decoder final : public decoder {
 public:
  explicit filter_decoder(archive::byte_source source) : source_(archive::decompress(std::move(source))) {}

  result<size_t> read(char* to, size_t size) override {
    if (left_.empty()) {
      ARCA_TRY(piece, source_());
      left_ = piece;
    }
    const size_t n = std::min(size, left_.size());
    if (n == 0) return n;
    std::memcpy(to, left_.data(), n);
    left_.remove_prefix(n);
    return n;
  }

 private:
  archive::byte_source source_;
  std::string_view left_;
};

}  // namespace

std::unique_ptr<decoder> make_decoder(archive::compression kind, archive::byte_source source) {
  switch (kind) {
    case archive::compression::gzip:
      return std::make_unique<gzip_decoder>(std::move(source));
    case archive::compression::zstd:
      return std::make_unique<zstd_decoder>(std::move(source));
    default:
      return std::make_unique<filter_decoder>(std::move(source));
  }
}

archive::byte_source decoded(archive::byte_source source) {
  struct state {
    archive::byte_source source;
    std::string head;
    std::unique_ptr<decoder> through;
    std::vector<char> buffer;
    bool decided = false, head_given = false;
  };
  auto s = std::make_shared<state>();
  s->source = std::move(source);
  const auto raw = [](state& st) -> result<std::string_view> {
    if (!st.head_given && !st.head.empty()) {
      st.head_given = true;
      return std::string_view(st.head);
    }
    return st.source();
  };
  return [s, raw]() -> result<std::string_view> {
    if (!s->decided) {
      while (s->head.size() < 6) {
        ARCA_TRY(piece, s->source());
        if (piece.empty()) break;
        s->head += piece;
      }
      s->decided = true;
      if (const auto kind = archive::detect_compression(s->head); kind != archive::compression::none) {
        s->buffer.resize(piece_size);
        s->through = make_decoder(kind, [st = s.get(), raw] { return raw(*st); });
      }
    }
    if (!s->through) return raw(*s);
    ARCA_TRY(n, s->through->read(s->buffer.data(), s->buffer.size()));
    return std::string_view(s->buffer.data(), n);
  };
}

}  // namespace arca::images
