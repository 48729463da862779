// TLS 1.2 and 1.3 for servers over any transport: OpenSSL with memory BIOs, so that half-close, gather writes and
// hang-up behave as on a plain socket.
#pragma once
#include "http/transport.hpp"

namespace arca::http {

std::unique_ptr<transport> make_tls_transport(boost::asio::io_context& io, std::unique_ptr<transport> below,
                                              std::shared_ptr<tls_context> context);

}  // namespace arca::http
