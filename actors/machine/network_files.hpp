// hosts, hostname and resolv.conf of a container, written anew at each start as Docker does.
#pragma once
#include <string>
#include <vector>

#include "actors/model/container_record.hpp"
#include "actors/protocol/network.hpp"

namespace arca::launch {

struct network_file_paths {
  std::string hosts, hostname, resolv;
};
/// Blocking. "bad nameserver address …" as Docker's start says it.
result<network_file_paths> write_network_files(const model::container_record& record, const std::string& container_dir,
                                               const std::vector<endpoint>& endpoints, bool host_network);

}  // namespace arca::launch
