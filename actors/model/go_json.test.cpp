#include "actors/model/go_json.hpp"

#include <catch2/catch.hpp>

#include "actors/model/go_schema.hpp"

namespace arca::model {
namespace {

std::string error_of(std::string_view text, const go::schema& type = go::create_request) {
  auto r = go::decode(text, type, go::empty_body::error);
  return r ? "" : r.error().message();
}

}  // namespace

TEST_CASE("syntax errors have Go's words") {
  CHECK(error_of("") == "invalid JSON: got EOF while reading request body");
  CHECK(error_of(" \n") == "invalid JSON: got EOF while reading request body");
  CHECK(error_of("{\"Image\": \"x\"") == "invalid JSON: unexpected EOF");
  CHECK(error_of("{\"Image\": busybox}") == "invalid JSON: invalid character 'b' looking for beginning of value");
  CHECK(error_of("{\"a\" 1}") == "invalid JSON: invalid character '1' after object key");
  CHECK(error_of("{\"a\":1 \"b\"}") == "invalid JSON: invalid character '\"' after object key:value pair");
  CHECK(error_of("[1 2]") == "invalid JSON: invalid character '2' after array element");
  CHECK(error_of("{,}") == "invalid JSON: invalid character ',' looking for beginning of object key string");
  CHECK(error_of("\xef\xbb\xbf{}") == "invalid JSON: invalid character '\\ufeff' looking for beginning of value");
  CHECK(error_of("tru\xff") == "invalid JSON: invalid character '\xc3\xbf' in literal true (expecting 'e')");
  CHECK(error_of("\"a\nb\"") == "invalid JSON: invalid character '\\n' in string literal");
  CHECK(error_of("{\"a\":1.}") == "invalid JSON: invalid character '}' after decimal point in numeric literal");
  CHECK(error_of("{} x") == "unexpected content after JSON");
  CHECK(error_of("{} ]").empty());  // json.Decoder.More
  CHECK(error_of(std::string(20000, '[')) == "invalid JSON: invalid character '[' exceeded max depth");
}

TEST_CASE("type errors name the field") {
  CHECK(error_of("{\"Image\":5}") ==
        "invalid JSON: json: cannot unmarshal number into Go struct field CreateRequest.Image of type string");
  CHECK(error_of("{\"HostConfig\":{\"Memory\":\"64m\"}}") ==
        "invalid JSON: json: cannot unmarshal string into Go struct field HostConfig.HostConfig.Memory of type int64");
  CHECK(error_of("{\"HostConfig\":{\"Memory\":1.5}}") ==
        "invalid JSON: json: cannot unmarshal number 1.5 into Go struct field HostConfig.HostConfig.Memory of type "
        "int64");
  CHECK(error_of("{\"HostConfig\":{\"BlkioWeight\":65536}}").find("number 65536") != std::string::npos);
  CHECK(error_of("[]") == "invalid JSON: json: cannot unmarshal array into Go value of type container.CreateRequest");
  CHECK(error_of("{\"Cmd\":[1]}").find("cannot unmarshal array into") != std::string::npos);
}

TEST_CASE("keys, duplicates and null") {
  auto r = go::decode("{\"iMAGE\":\"a\",\"Image\":\"b\",\"No\\u0053uch\":{\"x\":[1,{}]},\"Tty\":null,\"Cmd\":\"one\"}",
                      go::create_request);
  REQUIRE(r);
  CHECK((*r)["Image"] == "b");
  CHECK((*r)["Tty"] == false);
  CHECK((*r)["Cmd"] == json::array({"one"}));
  CHECK((*r)["Env"].is_null());
  CHECK((*r)["HostConfig"].is_null());
  auto merged = go::decode("{\"HostConfig\":{\"Memory\":1},\"HostConfig\":{\"CpuShares\":2}}", go::create_request);
  REQUIRE(merged);
  CHECK((*merged)["HostConfig"]["Memory"] == 1);
  CHECK((*merged)["HostConfig"]["CpuShares"] == 2);
}

TEST_CASE("strings that are no UTF-8") {
  auto r = go::decode("{\"Image\":\"a\xff\\ud800b\\ud83d\\ude00\"}", go::create_request);
  REQUIRE(r);
  CHECK((*r)["Image"] ==
        "a\xef\xbf\xbd\xef\xbf\xbd"
        "b\xf0\x9f\x98\x80");
  std::string out;
  go::append_string(out, "x\xc3(\x01\xe2\x80\xa8");
  CHECK(out == "\"x\\ufffd(\\u0001\\u2028\"");
}

TEST_CASE("whole 64-bit numbers") {
  auto r = go::decode(
      "{\"HostConfig\":{\"Memory\":9223372036854775807,\"CpuQuota\":-9223372036854775808,"
      "\"IOMaximumIOps\":18446744073709551615}}",
      go::create_request);
  REQUIRE(r);
  const auto text = go::marshal(*r, go::create_request);
  CHECK(text.find("\"Memory\":9223372036854775807") != std::string::npos);
  CHECK(text.find("\"CpuQuota\":-9223372036854775808") != std::string::npos);
  CHECK(text.find("\"IOMaximumIOps\":18446744073709551615") != std::string::npos);
  CHECK_FALSE(go::decode("{\"HostConfig\":{\"Memory\":9223372036854775808}}", go::create_request));
}

}  // namespace arca::model
