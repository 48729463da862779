// TLS by OpenSSL over our own non-blocking socket.
#include <arpa/inet.h>
#include <dirent.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <mutex>

#include "persistence/base/text.hpp"
#include "persistence/registry/socket.hpp"

namespace arca::registry {
namespace {
template <auto Free>
struct freed_by {
  template <class T>
  void operator()(T* p) const noexcept {
    Free(p);
  }
};
using context_ptr = std::unique_ptr<SSL_CTX, freed_by<SSL_CTX_free>>;
using ssl_ptr = std::unique_ptr<SSL, freed_by<SSL_free>>;

// A BIO over a socket that never raises SIGPIPE (OpenSSL's own uses write(2)).
int bio_write(BIO* bio, const char* data, int size) {
  BIO_clear_retry_flags(bio);
  const int fd = static_cast<int>(reinterpret_cast<intptr_t>(BIO_get_data(bio)));
  const auto n = send_now(fd, data, static_cast<size_t>(size));
  if (n < 0 && errno == EAGAIN) BIO_set_retry_write(bio);
  return static_cast<int>(n);
}
int bio_read(BIO* bio, char* data, int size) {
  BIO_clear_retry_flags(bio);
  const int fd = static_cast<int>(reinterpret_cast<intptr_t>(BIO_get_data(bio)));
  const auto n = receive_now(fd, data, static_cast<size_t>(size));
  if (n < 0 && errno == EAGAIN) BIO_set_retry_read(bio);
  return static_cast<int>(n);
}
long bio_control(BIO*, int command, long, void*) {
  return command == BIO_CTRL_FLUSH ? 1 : 0;
}

BIO* make_bio(int fd) {
  static BIO_METHOD* const method = [] {
    auto* m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "arca socket");
    BIO_meth_set_write(m, bio_write);
    BIO_meth_set_read(m, bio_read);
    BIO_meth_set_ctrl(m, bio_control);
    return m;
  }();
  BIO* bio = BIO_new(method);
  BIO_set_data(bio, reinterpret_cast<void*>(static_cast<intptr_t>(fd)));
  BIO_set_init(bio, 1);
  return bio;
}

std::vector<std::string> files_in(const std::string& folder, std::string_view suffix) {
  std::vector<std::string> out;
  DIR* dir = ::opendir(folder.c_str());
  if (dir == nullptr) return out;
  while (const auto* entry = ::readdir(dir))
    if (ends_with(entry->d_name, suffix)) out.push_back(folder + '/' + entry->d_name);
  ::closedir(dir);
  std::sort(out.begin(), out.end());
  return out;
}

outcome<context_ptr> make_context(const tls_options& options) {
  context_ptr context(SSL_CTX_new(TLS_client_method()));
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  SSL_CTX_set_mode(context.get(), SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  if (options.verify) {
    SSL_CTX_set_default_verify_paths(context.get());
    SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
  }
  for (const auto& folder : options.folders) {
    for (const auto& file : files_in(folder, ".crt"))
      if (SSL_CTX_load_verify_locations(context.get(), file.c_str(), nullptr) != 1)
        return give_up(errc::internal, "could not load certificate authority " + file);
    for (const auto& file : files_in(folder, ".cert")) {
      const auto key = file.substr(0, file.size() - 5) + ".key";
      if (SSL_CTX_use_certificate_chain_file(context.get(), file.c_str()) != 1 ||
          SSL_CTX_use_PrivateKey_file(context.get(), key.c_str(), SSL_FILETYPE_PEM) != 1)
        return give_up(errc::internal, "could not load client certificate " + file + " with key " + key);
    }
  }
  ERR_clear_error();
  return context;
}

std::string verify_text(long code, const url& to) {
  const std::string start = "tls: failed to verify certificate: x509: ";
  switch (code) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
    case X509_V_ERR_CERT_NOT_YET_VALID:
      return start + "certificate has expired or is not yet valid";
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
      return start + "certificate is not valid for " + to.host;
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
      return start + "certificate signed by unknown authority";
    default:
      return start + X509_verify_cert_error_string(code);
  }
}

class tls_connection final : public connection {
 public:
  tls_connection(tcp_socket socket, context_ptr context, std::chrono::milliseconds stall, const stop_signal& stop)
      : socket_(std::move(socket)),
        context_(std::move(context)),
        ssl_(SSL_new(context_.get())),
        stall_(stall),
        stop_(stop) {
    BIO* bio = make_bio(socket_.fd.get());
    SSL_set_bio(ssl_.get(), bio, bio);
  }

  outcome<void> handshake(const url& to, bool verify) {
    in_addr v4{};
    in6_addr v6{};
    const bool literal =
        ::inet_pton(AF_INET, to.host.c_str(), &v4) == 1 || ::inet_pton(AF_INET6, to.host.c_str(), &v6) == 1;
    if (!literal) SSL_set_tlsext_host_name(ssl_.get(), to.host.c_str());
    if (verify) {
      auto* parameters = SSL_get0_param(ssl_.get());
      if (literal)
        X509_VERIFY_PARAM_set1_ip_asc(parameters, to.host.c_str());
      else
        X509_VERIFY_PARAM_set1_host(parameters, to.host.c_str(), 0);
    }
    for (;;) {
      ERR_clear_error();
      const int n = SSL_connect(ssl_.get());
      if (n == 1) return {};
      auto again = wait(n);
      if (again) continue;
      if (again.error().final || again.error().retry) return again;
      if (verify && SSL_get_verify_result(ssl_.get()) != X509_V_OK)
        return transport_failure(verify_text(SSL_get_verify_result(ssl_.get()), to));
      return again;
    }
  }

  outcome<size_t> read_some(void* data, size_t size) override {
    for (;;) {
      ERR_clear_error();
      const int n = SSL_read(ssl_.get(), data, static_cast<int>(std::min(size, size_t{1} << 30)));
      if (n > 0) return static_cast<size_t>(n);
      if (SSL_get_error(ssl_.get(), n) == SSL_ERROR_ZERO_RETURN) return size_t{0};
      if (auto again = wait(n); !again) return fail(again.error());
    }
  }

  outcome<void> write_all(std::string_view data) override {
    while (!data.empty()) {
      ERR_clear_error();
      const int n = SSL_write(ssl_.get(), data.data(), static_cast<int>(std::min(data.size(), size_t{1} << 30)));
      if (n > 0)
        data.remove_prefix(static_cast<size_t>(n));
      else if (auto again = wait(n); !again)
        return again;
    }
    return {};
  }

  reach peer() const noexcept override { return socket_.peer; }
  bool idle() const noexcept override { return SSL_pending(ssl_.get()) == 0 && quiet(socket_.fd.get()); }

 private:
  // What SSL_* wants before it is called again.
  outcome<void> wait(int n) {
    const int saved = errno;
    switch (SSL_get_error(ssl_.get(), n)) {
      case SSL_ERROR_WANT_READ:
        return wait_for(socket_.fd.get(), POLLIN, stall_, stop_);
      case SSL_ERROR_WANT_WRITE:
        return wait_for(socket_.fd.get(), POLLOUT, stall_, stop_);
      case SSL_ERROR_SYSCALL:
        if (n == 0 || saved == 0) return transport_failure("EOF", true);
        return io_failure(socket_, "read", saved);
      default:
        break;
    }
    const auto code = ERR_get_error();
    switch (ERR_GET_REASON(code)) {
      case SSL_R_WRONG_VERSION_NUMBER:
      case SSL_R_HTTP_REQUEST:
        return transport_failure("http: server gave HTTP response to HTTPS client");
      case SSL_R_UNEXPECTED_EOF_WHILE_READING:
        return transport_failure("unexpected EOF", true);
      default:
        break;
    }
    const char* reason = ERR_reason_error_string(code);
    return transport_failure(std::string("tls: ") + (reason != nullptr ? reason : "protocol error"));
  }

  tcp_socket socket_;
  context_ptr context_;
  ssl_ptr ssl_;
  std::chrono::milliseconds stall_;
  const stop_signal& stop_;
};
}  // namespace

outcome<std::unique_ptr<connection>> start_tls(tcp_socket socket, const url& to, const dial_options& options,
                                               const stop_signal& stop) {
  auto context = make_context(options.tls);
  if (!context) return fail(context.error());
  auto out = std::make_unique<tls_connection>(std::move(socket), std::move(*context), options.stall_timeout, stop);
  if (auto done = out->handshake(to, options.tls.verify); !done) return fail(done.error());
  return out;
}

}  // namespace arca::registry
