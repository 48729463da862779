// The gRPC side of the hostile agent: every call of guest/proto/agent.proto, obeyed or not.
#pragma once
#include <grpcpp/grpcpp.h>

#include <functional>
#include <memory>

#include "guest/testing/hostile/processes.hpp"
#include "guest/testing/hostile/wish.hpp"

namespace arca::hostile {

/// `configured`: the machine is somebody's.
std::unique_ptr<grpc::Service> make_service(const wish& wanted, processes& all, bool own_kernel,
                                            std::function<void()> configured);

/// Of a virtual machine alone.
std::unique_ptr<grpc::Service> make_stdio_service(const wish& wanted, processes& all);

}  // namespace arca::hostile
