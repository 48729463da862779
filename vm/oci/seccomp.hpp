// Seccomp: Docker's profile format (default or from the user) → the `linux.seccomp` object of an OCI spec, or the ready
// BPF program for it. Compiling costs milliseconds; programs are kept by their inputs, so that a start pays nothing.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "persistence/base/error.hpp"
#include "vm/oci/host.hpp"

namespace arca::oci {

/// The default profile (vm/oci/seccomp_profile.json).
std::string_view default_seccomp_profile();

/// Evaluates conditions (capabilities, architecture, kernel). `profile` is the profile's JSON text: errc::internal
/// "Decoding seccomp profile failed: …", or runc's words for an action or an architecture that it does not know. Empty
/// for an empty profile, which is no filter.
result<nlohmann::json> seccomp_of(std::string_view profile, const std::set<std::string>& caps, const host_limits& host);

/// The BPF program of an evaluated profile as base64, for crun's annotation run.oci.seccomp_bpf_data; empty when it
/// cannot be expressed (notify, flags, unknown action). 10–20 ms.
std::string seccomp_program(const nlohmann::json& evaluated);

/// Both for the spec: `program`, or where that is empty `object`, the text of linux.seccomp; neither: no filter. Kept
/// by its inputs.
struct ready_seccomp {
  std::string program, object;
};
result<ready_seccomp> ready_seccomp_for(std::string_view profile, const std::vector<std::string>& caps,
                                        const host_limits& host);

}  // namespace arca::oci
