#include <catch2/catch.hpp>

#include "actors/model/create.hpp"
#include "actors/model/detach_keys.hpp"
#include "actors/model/exec.hpp"
#include "actors/model/filters.hpp"
#include "actors/model/info.hpp"
#include "actors/model/inspect.hpp"
#include "actors/model/log_options.hpp"
#include "actors/model/mounts.hpp"
#include "actors/model/signals.hpp"
#include "actors/model/summary.hpp"
#include "actors/model/timestamp.hpp"
#include "actors/model/update.hpp"
#include "actors/model/validation.hpp"

namespace arca::model {
namespace {

constexpr int64_t second = 1'000'000'000;

host_facts host() {
  host_facts f;
  f.cpus = 2;
  f.cpu_list = "0-1";
  f.mem_nodes = "0";
  return f;
}

json created(const std::string& body, const json& image = nullptr, api_version version = {}) {
  auto made = decode_create(body, version, {}, host());
  REQUIRE(made);
  REQUIRE(complete_create(*made, image, std::string(64, 'a')));
  return *made;
}

std::string refused(const std::string& body) {
  auto made = decode_create(body, {}, {}, host());
  return made ? "" : made.error().message();
}

}  // namespace

TEST_CASE("image configuration is merged by Docker's rules") {
  const json image = {
      {"Env", {"PATH=/bin", "A=image"}},    {"Cmd", {"sh"}}, {"Entrypoint", {"/run"}},
      {"Labels", {{"a", "1"}, {"b", "2"}}}, {"User", "bob"}, {"ExposedPorts", {{"80/tcp", json::object()}}}};
  auto config = created("{\"Image\":\"x\",\"Env\":[\"A=mine\"],\"Labels\":{\"b\":\"3\"}}", image)["Config"];
  CHECK(config["Env"] == json::array({"A=mine", "PATH=/bin"}));
  CHECK(config["Cmd"] == json::array({"sh"}));
  CHECK(config["Entrypoint"] == json::array({"/run"}));
  CHECK(config["Labels"] == json({{"a", "1"}, {"b", "3"}}));
  CHECK(config["User"] == "bob");
  CHECK(config["Hostname"] == "aaaaaaaaaaaa");
  // An own entrypoint switches the image's command off.
  CHECK(created("{\"Image\":\"x\",\"Entrypoint\":[\"/mine\"]}", image)["Config"]["Cmd"].is_null());
  // An empty one keeps the image's command only.
  CHECK(created("{\"Image\":\"x\",\"Entrypoint\":[]}", image)["Config"]["Entrypoint"] == json::array());
  auto nothing = decode_create("{\"Image\":\"\"}", {}, {}, host());
  REQUIRE(nothing);
  CHECK(complete_create(*nothing, nullptr, "a").error().message() == "no command specified");
}

TEST_CASE("defaults of HostConfig") {
  auto hc = created("{\"Cmd\":[\"x\"],\"HostConfig\":{\"Memory\":67108864}}")["HostConfig"];
  CHECK(hc["MemorySwap"] == 134217728);
  CHECK(hc["ShmSize"] == 67108864);
  CHECK(hc["IpcMode"] == "private");
  CHECK(hc["NetworkMode"] == "bridge");
  CHECK(hc["Runtime"] == "runc");
  CHECK(hc["RestartPolicy"]["Name"] == "no");
  auto privileged = created("{\"Cmd\":[\"x\"],\"HostConfig\":{\"Privileged\":true}}")["HostConfig"];
  CHECK(privileged["SecurityOpt"] == json::array({"label=disable"}));
  CHECK(privileged["MaskedPaths"].is_null());
  CHECK(created("{\"Cmd\":[\"x\"]}", nullptr, {39})["HostConfig"]["IpcMode"] == "shareable");
  CHECK(
      created(
          "{\"Cmd\":[\"x\"],\"HostConfig\":{\"NetworkMode\":\"host\",\"PortBindings\":{\"80/tcp\":[]}}}")["Warnings"] ==
      json::array({"Published ports are discarded when using host network mode"}));
}

TEST_CASE("host limits are discarded with a warning") {
  auto weak = host();
  weak.swap_limit = false;
  auto made = decode_create("{\"Cmd\":[\"x\"],\"HostConfig\":{\"Memory\":67108864}}", {}, {}, weak);
  REQUIRE(made);
  CHECK((*made)["HostConfig"]["MemorySwap"] == -1);
  CHECK((*made)["Warnings"].size() == 1);
  CHECK(refused("{\"Cmd\":[\"x\"],\"HostConfig\":{\"CpusetCpus\":\"0-4\"}}") ==
        "Requested CPUs are not available - requested 0-4, available: 0-1");
  CHECK(refused("{\"Cmd\":[\"x\"],\"HostConfig\":{\"NanoCpus\":3000000000}}") ==
        "range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available");
}

TEST_CASE("container names") {
  CHECK(*check_container_name("/web-1") == "web-1");
  for (const char* bad : {"", "/", "a", "-ab", "a b", "a/b", "//ab"}) CHECK_FALSE(check_container_name(bad));
  for (int i = 0; i < 50; ++i) CHECK(check_container_name(random_container_name(i % 3)));
}

TEST_CASE("mount precedence") {
  auto plan = [](const char* host_config, const char* config = "{}", const volumes_from_lookup& lookup = {}) {
    return plan_mounts(json::parse(config), json::parse(host_config), lookup);
  };
  auto all = plan("{\"Binds\":[\"/usr:/b:ro\",\"data:/v\"],\"Tmpfs\":{\"/t\":\"size=1m\"}}",
                  "{\"Volumes\":{\"/v\":{},\"/x/\":{}}}");
  REQUIRE(all);
  REQUIRE(all->size() == 4);
  CHECK((*all)[0].point.destination == "/b");
  CHECK_FALSE((*all)[0].point.read_write);
  CHECK((*all)[0].create_source);
  CHECK((*all)[0].point.propagation == "rprivate");
  CHECK((*all)[1].from_tmpfs_map);
  CHECK_FALSE(shown_in_mounts((*all)[1]));
  CHECK((*all)[2].point.name == "data");
  CHECK((*all)[2].point.mode == "z");
  CHECK((*all)[3].anonymous);
  CHECK(plan("{\"Binds\":[\"a1:/m\"],\"Tmpfs\":{\"/m/\":\"\"}}").error().message() == "Duplicate mount point: /m");
  const volumes_from_lookup source = [](const std::string&) -> result<std::vector<mount_point>> {
    return std::vector<mount_point>{{"volume", "v1", "/s", "/v", "local", "z", "", true}};
  };
  auto from = plan("{\"VolumesFrom\":[\"other:ro\"]}", "{}", source);
  REQUIRE(from);
  CHECK_FALSE((*from)[0].point.read_write);
  CHECK((*from)[0].point.mode.empty());
  auto over = plan("{\"VolumesFrom\":[\"other\"],\"Binds\":[\"/usr:/v\"]}", "{}", source);
  REQUIRE(over);
  CHECK((*over)[0].point.type == "bind");
  CHECK(clean_path("/a/../../b//./c/") == "/b/c");
  CHECK(clean_path("a/..") == ".");
}

TEST_CASE("filters") {
  auto f = filters::parse("{\"label\":{\"a=1\":true,\"b\":true},\"name\":{\"^web\":true}}");
  REQUIRE(f);
  CHECK(f->match_kv("label", {{"a", "1"}, {"b", ""}}));
  CHECK_FALSE(f->match_kv("label", {{"a", "2"}, {"b", ""}}));
  CHECK(f->match("name", "web1"));
  CHECK_FALSE(f->match("name", "myweb"));
  CHECK(f->to_json() == "{\"label\":[\"a=1\",\"b\"],\"name\":[\"^web\"]}");
  CHECK_FALSE(filters::parse("{\"a\":[\"x\"],\"b\":{\"x\":true}}"));  // one form only
  CHECK(filters::parse("[1]").error().message() == "invalid filter");
  CHECK(filters::parse("null")->empty());
  bool given = false;
  CHECK(*until_filter(*filters::parse("{\"until\":[\"1m\"]}"), 100 * second, given) == 40 * second);
  CHECK(given);
  CHECK_FALSE(regex_found("*[", "x"));
  CHECK(regex_found("(a|b)+$", "xxab"));
}

TEST_CASE("times in queries") {
  int64_t nanos = 0;
  CHECK(parse_duration("1h2m3.5s", nanos));
  CHECK(nanos == 3723'500'000'000);
  CHECK_FALSE(parse_duration("5", nanos));
  CHECK_FALSE(parse_duration("1x", nanos));
  CHECK(*parse_time_or_duration("2024-01-02", 0) == 1704153600 * second);
  CHECK(*parse_time_or_duration("2024-01-02T03:04", 0) == 1704164640 * second);
  CHECK(*parse_time_or_duration("2024-01-02T03:04:05.5Z", 0) == 1704164645 * second + second / 2);
  CHECK(*parse_time_or_duration("2024-01-02T03:04:05+01:00", 0) == 1704161045 * second);
  CHECK(*parse_unix_time("10.25") == 10 * second + second / 4);
  CHECK(parse_time_or_duration("xyz", 0).error().message() == "failed to parse value as time or duration: \"xyz\"");
  CHECK(parse_unix_time("x").error().message() == "strconv.ParseInt: parsing \"x\": invalid syntax");
}

TEST_CASE("human durations") {
  CHECK(human_duration(second / 2) == "Less than a second");
  CHECK(human_duration(second) == "1 second");
  CHECK(human_duration(59 * second) == "59 seconds");
  CHECK(human_duration(60 * second) == "About a minute");
  CHECK(human_duration(3599 * second) == "59 minutes");
  CHECK(human_duration(3600 * second) == "About an hour");
  CHECK(human_duration(5401 * second) == "2 hours");
  CHECK(human_duration(49 * 3600 * second) == "2 days");
  CHECK(human_duration(15 * 24 * 3600 * second) == "2 weeks");
  CHECK(human_duration(100 * 24 * 3600 * second) == "3 months");
  CHECK(human_duration(int64_t{800} * 24 * 3600 * second) == "2 years");
}

TEST_CASE("signals and detach keys") {
  CHECK(*parse_signal("term") == 15);
  CHECK(*parse_signal("SIGRTMIN+3") == 37);
  CHECK(*parse_signal("999") == 999);
  CHECK_FALSE(valid_signal(999));
  CHECK_FALSE(valid_signal(-9));
  CHECK(signal_name(29) == "SIGIO");
  CHECK(parse_signal("0").error().message() == "invalid signal: 0");
  CHECK_FALSE(parse_signal("SIGRTMIN+16"));
  CHECK(*parse_detach_keys("") == default_detach_keys);
  CHECK(*parse_detach_keys("ctrl-x,d") ==
        "\x18"
        "d");
  CHECK(*parse_detach_keys("ctrl-@,ctrl-[") == std::string("\0\x1b", 2));
  CHECK(parse_detach_keys("ctrl-!!").error().message() == "Invalid detach keys (ctrl-!!) provided");
}

TEST_CASE("log options") {
  const auto config = json::parse(
      "{\"Type\":\"json-file\",\"Config\":{\"labels\":\"role\",\"env\":\"COLOR\",\"tag\":\"{{.Name}}/{{ .ID }}\"}}");
  CHECK(check_log_config(config));
  log_tag_fields fields;
  fields.id = std::string(64, 'b');
  fields.name = "web";
  const json container = {{"Labels", {{"role", "db"}}}, {"Env", {"COLOR=blue", "X=1"}}};
  auto made = resolve_log_options(config, {{"max-size", "20m"}, {"max-file", "5"}}, container, fields);
  REQUIRE(made);
  CHECK(made->max_size == 20'000'000);
  CHECK(made->max_files == 5);
  CHECK(made->attributes ==
        std::map<std::string, std::string>{{"COLOR", "blue"}, {"role", "db"}, {"tag", "web/bbbbbbbbbbbb"}});
  const auto bad = json::parse("{\"Type\":\"json-file\",\"Config\":{\"max-size\":\"many\"}}");
  CHECK(check_log_config(bad));
  CHECK(resolve_log_options(bad, {}, container, fields).error().message() ==
        "failed to create task for container: failed to initialize logging driver: invalid size: 'many'");
  CHECK(expand_log_tag("{{.Name", fields).error().message() == "template: log-tag:1: unclosed action");
  CHECK_FALSE(expand_log_tag("{{.Nope}}", fields));
  CHECK(*size_in_bytes("1.5k", 1024) == 1536);
  CHECK(*size_in_bytes("20 MiB", 1000) == 20'000'000);
}

// As Docker Engine 28.5.2 answered them.
TEST_CASE("endpoint settings: every fault is told") {
  const auto told = [](const char* endpoints) {
    const auto checked = check_networking({{"EndpointsConfig", json::parse(endpoints)}});
    return checked ? std::string() : checked.error().message();
  };
  const std::string no_subnet =
      "user specified IP address is supported only when connecting to networks with user configured subnets";
  CHECK(told(R"({"a":{"IPAMConfig":{"IPv4Address":"x"}}})") ==
        "invalid config for network a: invalid endpoint settings:\ninvalid IPv4 address: x");
  CHECK(told(R"({"a":{"IPAMConfig":{"IPv4Address":"x"}},"b":{"IPAMConfig":{"IPv4Address":"::","IPv6Address":"z"}}})") ==
        "* invalid config for network a: invalid endpoint settings:\n\tinvalid IPv4 address: x\n"
        "* invalid config for network b: invalid endpoint settings:\n\t* invalid IPv4 address: ::\n"
        "\t* invalid IPv6 address: z");
  CHECK(
      told(R"({"a":null,"b":null})") ==
      "* invalid config for network a: EndpointsConfig is nil\n* invalid config for network b: EndpointsConfig is nil");
  CHECK(told(R"({"a":{"MacAddress":"zz","IPAMConfig":{"IPv4Address":"x"}}})") ==
        "invalid config for network a: invalid MAC address zz");
  CHECK(told(R"({"none":{"IPAMConfig":{"IPv4Address":"1.2.3.4","IPv6Address":"::1"}}})") ==
        "invalid config for network none: invalid endpoint settings:\n"
        "* user specified IP address is supported on user defined networks only\n* " +
            no_subnet + "\n* " + no_subnet);
  CHECK(told(R"({"bridge":{"IPAMConfig":{"IPv4Address":"0.0.0.0"}}})").ends_with("IP address 0.0.0.0"));
  CHECK(told(R"({"bridge":{"IPAMConfig":{"IPv4Address":"x","IPv6Address":"::1"}}})") ==
        "invalid config for network bridge: invalid endpoint settings:\n"
        "* user specified IP address is supported on user defined networks only\n* invalid IPv4 address: x\n"
        "* no configured subnet or ip-range contain the IP address x\n* " +
            no_subnet);
  CHECK(told(R"({"a":{"DriverOpts":{"com.docker.network.endpoint.sysctls":"net.ipv4.conf.IFNAME.x=1"}}})") ==
        "invalid config for network a: driver option com.docker.network.endpoint.sysctls is not supported");
  CHECK(told(R"({"a":{"Aliases":["x"],"IPAMConfig":{"LinkLocalIPs":["169.254.1.1"]}}})").empty());
}

TEST_CASE("default log options of the daemon") {
  CHECK(check_default_log_options("json-file", {{"max-size", "20m"}, {"max-file", "5"}, {"compress", "true"}}));
  CHECK(check_default_log_options("none", {{"max-size", "-1"}}));
  const auto refusal = [](const char* key, const char* value) {
    return check_default_log_options("json-file", {{key, value}}).error().message();
  };
  CHECK(refusal("max-size", "-1") == "failed to set log opts: invalid size: '-1'");
  CHECK(refusal("max-size", "0") == "failed to set log opts: max-size must be a positive number");
  CHECK(refusal("max-file", "0") == "failed to set log opts: max-file cannot be less than 1");
  CHECK(refusal("nosuch", "1") == "failed to set log opts: unknown log opt 'nosuch' for json-file log driver");
  CHECK(refusal("mode", "odd") == "failed to set log opts: logger: logging mode not supported: odd");
  CHECK(refusal("tag", "{{.Nope}}").starts_with("failed to set log opts: template: "));
}

TEST_CASE("a start by the restart policy shows as a restart, one by a person does not") {
  container_record r;
  r.state.status = container_status::starting;
  r.state.started_at = 1;
  CHECK(shown_status(r) == "exited");
  CHECK_FALSE(shows_running(r));
  r.restart_delay_ms = 100;
  CHECK(shown_status(r) == "restarting");
  CHECK(shows_running(r));
}

TEST_CASE("a record survives its document") {
  container_record r;
  r.id = std::string(64, 'c');
  r.name = "n\xff";
  r.config = json::parse("{\"Cmd\":[\"a\",\"b c\"],\"Labels\":{}}");
  r.host_config = json::object();
  r.state.status = container_status::restarting;
  r.state.started_at = INT64_MAX;
  r.mounts.push_back({"bind", "", "/s", "/d", "", "ro", "rprivate", false});
  r.endpoints.push_back({"bridge", "id", "ep", "bridge", "02:00:00:00:00:01", "1.2.3.4", "1.2.3.1", 24, nullptr});
  r.generation = UINT64_MAX;
  auto back = from_document(to_document(r));
  REQUIRE(back);
  CHECK(back->state.started_at == INT64_MAX);
  CHECK(back->state.status == container_status::restarting);
  CHECK(back->generation == UINT64_MAX);
  CHECK(back->mounts[0].mode == "ro");
  CHECK(back->endpoints[0].prefix4 == 24);
  CHECK(to_document(*back) == to_document(*from_document(to_document(*back))));
  CHECK(command_of(r).args == std::vector<std::string>{"b c"});
  CHECK_FALSE(from_document("{}"));
  CHECK_FALSE(from_document("{"));
}

TEST_CASE("inspect shows the virtual machine of a container that runs, and nothing more of others") {
  container_record r;
  r.id = std::string(64, 'a');
  r.config = r.host_config = r.networking = json::object();
  r.state.status = container_status::running;
  CHECK_FALSE(parse_document(inspect_json(r, {}))->contains("Machine"));
  r.details = {{"Kind", "vm"}, {"Pid", 7}, {"Stages", {{"boot", 1.5}}}};
  const auto kept = from_document(to_document(r));
  REQUIRE(kept);
  const auto shown = parse_document(inspect_json(*kept, {}));
  CHECK((*shown)["Machine"]["Pid"] == 7);
  CHECK((*shown)["Machine"]["Stages"]["boot"] == 1.5);
  r.state.status = container_status::exited;
  CHECK_FALSE(parse_document(inspect_json(r, {}))->contains("Machine"));
  // A row that was written before there was any.
  auto old = *parse_document(to_document(r));
  old.erase("machine_details");
  REQUIRE(from_document(old.dump()));
  CHECK(from_document(old.dump())->details.is_null());
}

TEST_CASE("info and version") {
  const auto facts = gather_host_facts();
  CHECK(facts.cpus > 0);
  CHECK(facts.mem_total > 0);
  CHECK_FALSE(facts.cpu_list.empty());
  auto info = parse_document(info_json(facts, {}, {}));
  REQUIRE(info);
  CHECK((*info)["FirewallBackend"].is_object());
  CHECK_FALSE(info->contains("BridgeNfIptables"));
  auto old = parse_document(info_json(facts, {}, {}, {24}));
  REQUIRE(old);
  CHECK((*old)["KernelMemory"] == true);
  CHECK_FALSE(old->contains("Containerd"));
  CHECK((*parse_document(version_json(facts, {})))["ApiVersion"] == "1.51");
}

TEST_CASE("update") {
  const json before = {{"Memory", 100 << 20}, {"MemorySwap", 200 << 20}, {"AutoRemove", false}, {"NanoCpus", 0}};
  auto asked = decode_update("{\"CpuShares\":5,\"PidsLimit\":-1,\"RestartPolicy\":{\"Name\":\"always\"}}", {}, host());
  REQUIRE(asked);
  auto after = apply_update(before, *asked, true);
  REQUIRE(after);
  CHECK((*after)["CpuShares"] == 5);
  CHECK((*after)["PidsLimit"] == 0);
  CHECK((*after)["RestartPolicy"]["Name"] == "always");
  CHECK((*after)["Memory"] == 100 << 20);
  CHECK(apply_update(before, *decode_update("{\"Memory\":314572800}", {}, host()), false).error().code() ==
        errc::conflict);
}

TEST_CASE("exec bodies") {
  CHECK(decode_exec("", {}).error().message() == "No exec command specified");
  auto config = decode_exec("{\"Cmd\":[\"sh\",\"-c\",\"x\"],\"AttachStdout\":true,\"ConsoleSize\":[3,4]}", {});
  REQUIRE(config);
  CHECK(exec_inspect_json({.id = "e", .container_id = "c"}, *config) ==
        "{\"ID\":\"e\",\"Running\":false,\"ExitCode\":null,\"ProcessConfig\":{\"tty\":false,\"entrypoint\":\"sh\","
        "\"arguments\":"
        "[\"-c\",\"x\"],\"privileged\":false},\"OpenStdin\":false,\"OpenStderr\":false,\"OpenStdout\":true,"
        "\"CanRemove\":false,"
        "\"ContainerID\":\"c\",\"DetachKeys\":\"\",\"Pid\":0}");
  auto start = decode_exec_start("{\"Tty\":true,\"ConsoleSize\":[33,77]}", {});
  REQUIRE(start);
  CHECK(start->rows == 33);
  CHECK(start->columns == 77);
  CHECK(decode_exec_start("{\"ConsoleSize\":[33,77]}", {})->rows == 0);
}

}  // namespace arca::model
