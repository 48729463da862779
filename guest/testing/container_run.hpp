// One container or exec from beginning to end, for tests that compare what comes out.
#pragma once
#include <functional>
#include <string>

#include "guest/testing/machine_fixture.hpp"

namespace arca::guest::testing {

struct outcome {
  std::string error;  ///< why it did not start
  std::string text;   ///< stdout and stderr
  int code = -1;      ///< -1: it did not start
};

using change = std::function<void(nlohmann::json& spec, machine_fixture& in)>;

/// A spec as the daemon makes them (vm/oci): Docker's mounts, namespaces, capabilities, masked and read-only paths.
nlohmann::json docker_spec(const machine_fixture& m, const std::string& script);
/// In a machine of its own. `launcher`: as of machine_fixture.
outcome run_container(const std::string& launcher, const std::string& script, const change& apply = nullptr,
                      bool tty = false);
outcome run_exec(machine_fixture& m, const std::string& id, const nlohmann::json& process, bool tty = false);

}  // namespace arca::guest::testing
