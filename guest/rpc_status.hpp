// Errors as gRPC carries them.
#pragma once
#include <grpcpp/support/status.h>

#include "persistence/base/error.hpp"

namespace arca::guest {

inline grpc::Status to_status(const error& e) {
  using enum grpc::StatusCode;
  switch (e.code()) {
    case errc::not_found:
      return {NOT_FOUND, e.message()};
    case errc::invalid_argument:
      return {INVALID_ARGUMENT, e.message()};
    case errc::conflict:
      return {ALREADY_EXISTS, e.message()};
    case errc::unavailable:
      return {FAILED_PRECONDITION, e.message()};
    default:
      return {INTERNAL, e.message()};
  }
}

template <class T>
grpc::Status to_status(const result<T>& r) {
  return r ? grpc::Status::OK : to_status(r.error());
}

}  // namespace arca::guest
