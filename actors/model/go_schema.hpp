// Docker's request and answer types (github.com/docker/docker/api/types, 28.5) as tables for go_json.hpp.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace arca::model::go {

enum class kind : uint8_t {
  string,
  boolean,
  integer,
  floating,
  pointer,
  slice,
  array,
  map,
  object,
  raw,
  string_list,  ///< container/strslice: a string or a list of strings
};

struct schema;

struct field {
  const char* name;
  const schema* type;
  bool omit_empty = false;
};

struct schema {
  go::kind kind = kind::raw;
  const char* go_name = "";         ///< as Go prints the type: "container.HostConfig", "[]string", "int64"
  const schema* element = nullptr;  ///< of pointer, slice, array, map
  std::span<const field> fields;    ///< of object
  uint8_t bits = 64;                ///< of integer
  bool is_signed = true;
  size_t length = 0;  ///< of array
};

extern const schema string_type, bool_type, int_type, int64_type, float_type, string_slice, string_map, bool_map_map,
    string_slice_map;

extern const schema create_request;      ///< Config's fields, HostConfig, NetworkingConfig
extern const schema container_config;    ///< container.Config
extern const schema host_config;         ///< container.HostConfig, Resources included
extern const schema resources;           ///< container.Resources
extern const schema networking_config;   ///< network.NetworkingConfig
extern const schema endpoint_settings;   ///< network.EndpointSettings
extern const schema network_settings;    ///< container.NetworkSettings (inspect)
extern const schema mount_point;         ///< container.MountPoint
extern const schema health_config;       ///< container.HealthConfig
extern const schema update_config;       ///< container.UpdateConfig
extern const schema exec_options;        ///< container.ExecOptions
extern const schema exec_start_options;  ///< container.ExecStartOptions
extern const schema exec_inspect;        ///< backend.ExecInspect
extern const schema container_inspect;   ///< container.InspectResponse
extern const schema container_summary;   ///< container.Summary
extern const schema volume_create;       ///< volume.CreateOptions
extern const schema network_create;      ///< network.CreateRequest
extern const schema network_connect;     ///< network.ConnectOptions
extern const schema network_disconnect;  ///< network.DisconnectOptions
extern const schema auth_config;         ///< registry.AuthConfig
extern const schema platform;            ///< v1.Platform of the OCI image specification

/// The field a key names: exactly, else without regard to case as Go folds it. Null: unknown.
const field* find_field(const schema& type, std::string_view key);

}  // namespace arca::model::go
