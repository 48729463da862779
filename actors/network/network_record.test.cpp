#include "actors/network/network_record.hpp"

#include <catch2/catch.hpp>

#include "actors/network/network_filters.hpp"

using namespace arca;

namespace {
network_record bridge() {
  network_record n;
  n.id = std::string(64, 'a');
  n.name = "bridge";
  n.driver = "bridge";
  n.created = 1'763'790'954'123'456'789;
  n.bridge = "arca0";
  n.subnet = net::parse_subnet4("172.17.0.0/16");
  n.gateway = *net::parse_ip4("172.17.0.1");
  return n;
}
endpoint_record endpoint_of(const char* container) {
  endpoint_record e;
  e.id = "e1";
  e.network_id = std::string(64, 'a');
  e.container_id = container;
  e.container_name = "web";
  e.host_device = "veth1234567";
  e.mac = "02:42:ac:11:00:02";
  e.address = net::parse_ip4("172.17.0.2");
  return e;
}
}  // namespace

TEST_CASE("rows of networks and endpoints read back") {
  auto n = bridge();
  n.labels["a"] = "b\"c";
  const auto again = network_from_document(to_document(n));
  REQUIRE(again);
  CHECK(to_document(*again) == to_document(n));
  const auto e = endpoint_from_document(to_document(endpoint_of("c1")));
  REQUIRE(e);
  CHECK(to_document(*e) == to_document(endpoint_of("c1")));
  CHECK(unique_of(*e) == std::string(64, 'a') + "/172.17.0.2");
  for (const char* bad : {"", "[]", "{", "{}", "{\"id\":5}", "null"}) {
    CHECK_FALSE(network_from_document(bad));
    CHECK_FALSE(endpoint_from_document(bad));
  }
}

TEST_CASE("the default network as Docker shows it (transcript networks-list)") {
  CHECK(network_json(bridge(), {{"c1", endpoint_of("c1")}}) ==
        R"({"Name":"bridge","Id":")" + std::string(64, 'a') +
            R"(","Created":"2025-11-22T05:55:54.123456789Z","Scope":"local","Driver":"bridge","EnableIPv4":true,)"
            R"("EnableIPv6":false,"IPAM":{"Driver":"default","Options":null,"Config":[{"Subnet":"172.17.0.0/16",)"
            R"("Gateway":"172.17.0.1"}]},"Internal":false,"Attachable":false,"Ingress":false,)"
            R"("ConfigFrom":{"Network":""},"ConfigOnly":false,"Containers":{"c1":{"Name":"web","EndpointID":"e1",)"
            R"("MacAddress":"02:42:ac:11:00:02","IPv4Address":"172.17.0.2/16","IPv6Address":""}},)"
            R"("Options":{"com.docker.network.bridge.default_bridge":"true",)"
            R"("com.docker.network.bridge.enable_icc":"true","com.docker.network.bridge.enable_ip_masquerade":"true",)"
            R"("com.docker.network.bridge.host_binding_ipv4":"0.0.0.0","com.docker.network.bridge.name":"arca0",)"
            R"("com.docker.network.driver.mtu":"1500"},"Labels":{}})");
}

TEST_CASE("filters of the list") {
  auto n = bridge();
  n.labels["team"] = "a";
  const auto shows = [&](const char* text) {
    const auto f = network_filters::parse(text);
    if (!f) FAIL(f.error().message());
    return f->match(n, true);
  };
  for (const char* yes : {"", "{}", R"({"name":["rid"]})", R"({"id":["aaaa"]})", R"({"driver":{"bridge":true}})",
                          R"({"type":["builtin"]})", R"({"label":["team=a"]})", R"({"scope":["local"]})",
                          R"({"dangling":["false"]})", R"({"dangling":["0"]})"})
    CHECK(shows(yes));
  for (const char* no : {R"({"name":["^ridge"]})", R"({"driver":["host"]})", R"({"type":["custom"]})",
                         R"({"label":["team=b"]})", R"({"scope":["swarm"]})", R"({"dangling":["true"]})"})
    CHECK_FALSE(shows(no));
  const auto refusal = [](const char* text) { return network_filters::parse(text).error().message(); };
  CHECK(refusal(R"({"foo":["x"]})") == "invalid filter 'foo'");
  CHECK(refusal(R"({"type":["strange"]})") == "invalid filter: 'type'='strange'");
  CHECK(refusal(R"({"dangling":["maybe"]})") ==
        "invalid value for filter 'dangling', must be \"true\" (or \"1\"), or \"false\" (or \"0\")");
  CHECK(refusal("x") == "invalid filter");
}
