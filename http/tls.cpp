#include "http/tls.hpp"

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <array>

#include "http/signal.hpp"

namespace arca::http {
namespace {

std::string openssl_error() {
  std::array<char, 256> text{};
  ERR_error_string_n(ERR_get_error(), text.data(), text.size());
  ERR_clear_error();
  return text.data();
}

std::string at_file(std::string_view file) {
  return "\"" + std::string(file) + "\": ";
}

class tls_transport final : public transport {
 public:
  tls_transport(boost::asio::io_context& io, std::unique_ptr<transport> below, std::shared_ptr<tls_context> context)
      : below_(std::move(below)),
        context_(std::move(context)),
        written_(io),
        ssl_(SSL_new(static_cast<SSL_CTX*>(context_->native()))),
        in_(BIO_new(BIO_s_mem())),
        out_(BIO_new(BIO_s_mem())) {
    BIO_set_mem_eof_return(in_, -1);  // an empty buffer means "later", not the end
    SSL_set_bio(ssl_.get(), in_, out_);
    SSL_set_accept_state(ssl_.get());
  }

  awaitable<bool> handshake() override {
    for (;;) {
      ERR_clear_error();
      const int r = SSL_do_handshake(ssl_.get());
      const bool flushed = co_await flush();  // an alert too
      if (r == 1) co_return flushed;
      if (SSL_get_error(ssl_.get(), r) != SSL_ERROR_WANT_READ || !flushed) co_return false;
      const auto n = co_await receive();
      if (n <= 0) co_return false;
    }
  }

  awaitable<ssize_t> read_some(char* into, size_t size) override {
    for (;;) {
      ERR_clear_error();
      size_t n = 0;
      const int r = SSL_read_ex(ssl_.get(), into, size, &n);
      const int why = SSL_get_error(ssl_.get(), r);
      if (BIO_ctrl_pending(out_) > 0 && !co_await flush()) co_return -1;  // key updates
      if (r == 1) co_return static_cast<ssize_t>(n);
      if (why == SSL_ERROR_ZERO_RETURN) co_return 0;
      if (why != SSL_ERROR_WANT_READ) co_return -1;
      const auto got = co_await receive();
      if (got <= 0) co_return got;
    }
  }

  size_t try_write(std::span<const std::string_view>) override { return 0; }

  awaitable<bool> write(std::span<const std::string_view> parts) override {
    constexpr size_t flush_at = 256u << 10;  // ciphertext in memory
    for (auto part : parts) {
      while (!part.empty()) {
        ERR_clear_error();
        size_t n = 0;
        const auto piece = part.substr(0, 16u << 10);  // one record
        if (SSL_write_ex(ssl_.get(), piece.data(), piece.size(), &n) != 1) co_return false;
        part.remove_prefix(n);
        if (BIO_ctrl_pending(out_) >= flush_at && !co_await flush()) co_return false;
      }
    }
    co_return co_await flush();
  }

  awaitable<void> finish_writing() override {
    ERR_clear_error();
    SSL_shutdown(ssl_.get());
    co_await flush();
    co_await below_->finish_writing();
  }

  awaitable<void> wait_hangup() override { co_await below_->wait_hangup(); }
  void close() override { below_->close(); }

 private:
  awaitable<ssize_t> receive() {
    const auto n = co_await below_->read_some(cipher_.data(), cipher_.size());
    if (n > 0) BIO_write(in_, cipher_.data(), static_cast<int>(n));
    co_return n;
  }

  // Writes what OpenSSL has produced. A reader and a writer may both come here; one writes, the other waits.
  awaitable<bool> flush() {
    while (flushing_) co_await written_.wait();
    flushing_ = true;
    while (!broken_) {
      char* data = nullptr;
      const auto size = BIO_get_mem_data(out_, &data);
      if (size <= 0) break;
      const std::string bytes(data, static_cast<size_t>(size));
      (void)BIO_reset(out_);
      const std::array<std::string_view, 1> one{bytes};
      broken_ = !co_await below_->write(one);
    }
    flushing_ = false;
    written_.notify();
    co_return !broken_;
  }

  struct freed {
    void operator()(SSL* s) const { SSL_free(s); }
  };
  std::unique_ptr<transport> below_;
  std::shared_ptr<tls_context> context_;
  signal written_;
  bool flushing_ = false, broken_ = false;
  std::unique_ptr<SSL, freed> ssl_;  // owns both BIOs
  BIO* in_;
  BIO* out_;
  std::array<char, 16u << 10> cipher_;
};

}  // namespace

std::unique_ptr<transport> make_tls_transport(boost::asio::io_context& io, std::unique_ptr<transport> below,
                                              std::shared_ptr<tls_context> context) {
  return std::make_unique<tls_transport>(io, std::move(below), std::move(context));
}

result<std::shared_ptr<tls_context>> tls_context::make(const std::string& certificate, const std::string& key,
                                                       const std::string& ca, bool verify) {
  std::shared_ptr<tls_context> made(new tls_context);
  auto* ctx = SSL_CTX_new(TLS_server_method());
  made->native_ = ctx;
  if (ctx == nullptr) return fail(errc::internal, "cannot set up TLS: " + openssl_error());
  SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
  SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
  SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
  if (SSL_CTX_use_certificate_chain_file(ctx, certificate.c_str()) != 1)
    return fail(errc::invalid_argument, "cannot load the TLS certificate " + at_file(certificate) + openssl_error());
  if (SSL_CTX_use_PrivateKey_file(ctx, key.c_str(), SSL_FILETYPE_PEM) != 1 || SSL_CTX_check_private_key(ctx) != 1)
    return fail(errc::invalid_argument, "cannot load the TLS key " + at_file(key) + openssl_error());
  if (verify) {
    if (SSL_CTX_load_verify_locations(ctx, ca.c_str(), nullptr) != 1)
      return fail(errc::invalid_argument, "cannot load the TLS CA certificates " + at_file(ca) + openssl_error());
    SSL_CTX_set_client_CA_list(ctx, SSL_load_client_CA_file(ca.c_str()));
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
    constexpr std::string_view name = "arca";
    SSL_CTX_set_session_id_context(ctx, reinterpret_cast<const unsigned char*>(name.data()), name.size());
  }
  return made;
}

tls_context::~tls_context() {
  SSL_CTX_free(static_cast<SSL_CTX*>(native_));
}

}  // namespace arca::http
