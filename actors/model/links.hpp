// HostConfig.Links on the default bridge: what a container learns of those that it is linked to.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "actors/model/container_record.hpp"

namespace arca::model {

struct link_name {
  std::string container, alias;
};
/// "NAME[:ALIAS]" or "/NAME:/PARENT/ALIAS", as inspect shows them. errc::internal, Docker's status, for what is
/// neither.
result<link_name> parse_link(const std::string& text);

struct resolved_links {
  std::vector<std::string> hosts;        ///< lines of /etc/hosts: an address, a tab and names
  std::vector<std::string> environment;  ///< "ALIAS_PORT_80_TCP=tcp://172.17.0.2:80" and the like
};
using linked_lookup = std::function<result<std::shared_ptr<const container_record>>(const std::string&)>;
/// At a start of `r`. Errors as Docker's start has them: one that is linked to does not run, or is elsewhere.
result<resolved_links> resolve_links(const container_record& r, const linked_lookup& lookup);

}  // namespace arca::model
