// linux.seccomp of an OCI runtime spec, or a program that the daemon has compiled already, → BPF.
#pragma once
#include <nlohmann/json.hpp>

#include "guest/native/plan.hpp"
#include "persistence/base/error.hpp"

namespace arca::guest::native {

/// The program of annotation run.oci.seccomp_bpf_data (crun's: base64 of sock_filter[]) when there is one, else
/// linux.seccomp compiled by libseccomp; an empty program when the spec has neither.
result<seccomp_filter> seccomp_of_spec(const nlohmann::json& spec);

/// errc::invalid_argument for what is not base64 or no whole number of instructions.
result<std::vector<sock_filter>> decode_program(std::string_view base64);
result<seccomp_filter> compile_seccomp(const nlohmann::json& seccomp);

}  // namespace arca::guest::native
