// A connected socket as a stream: what it gives is the output, the input goes into it.
#pragma once
#include "actors/streams/process_io.hpp"

namespace arca {

/// The end of the input closes the socket for writing; the end of what the socket gives ends the output, and with it
/// all. With `datagrams` the socket keeps message boundaries (SOCK_SEQPACKET): each chunk of the input becomes one, and
/// the input's end means nothing, since answers may come. Whoever does not read stops the other side.
stream open_socket_stream(stdio_service& service, unique_fd socket, bool datagrams);

}  // namespace arca
