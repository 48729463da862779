#include "actors/model/validate_vm.hpp"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

using nlohmann::json;

TEST_CASE("vm: what needs the host's kernel is refused by the option's name") {
  using arca::model::fits_in_vm;
  CHECK(fits_in_vm(json{{"NetworkMode", "bridge"}, {"PidMode", ""}, {"Devices", json::array()}}));
  CHECK(fits_in_vm(json{{"UsernsMode", "host"}, {"CgroupnsMode", "host"}, {"Privileged", true}}));
  const auto refused = [](const json& host_config) {
    const auto done = fits_in_vm(host_config);
    REQUIRE_FALSE(done);
    CHECK(done.error().code() == arca::errc::invalid_argument);
    return done.error().message().substr(0, done.error().message().find(" is not possible"));
  };
  CHECK(refused({{"NetworkMode", "host"}}) == "--network host");
  CHECK(refused({{"PidMode", "host"}}) == "--pid host");
  CHECK(refused({{"IpcMode", "host"}}) == "--ipc host");
  CHECK(refused({{"UTSMode", "host"}}) == "--uts host");
  CHECK(refused({{"Devices", {{{"PathOnHost", "/dev/fuse"}}}}}) == "--device");
  CHECK(refused({{"DeviceRequests", {{{"Count", -1}}}}}) == "--gpus");
  CHECK(refused({{"CgroupParent", "/x"}}) == "--cgroup-parent");
}
