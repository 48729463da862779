// GET /containers/json: one element per container, made when the container changes; only what depends on now (Status)
// or on the request (sizes) is filled in for each request.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "actors/model/api_version.hpp"
#include "actors/model/container_record.hpp"

namespace arca::model {

/// The element's JSON text with one byte each where something is filled in: 0x01 the text of Status, 0x02 the sizes,
/// 0x03 the image's name. (JSON text has no such bytes.)
std::string make_summary(const container_record& r);

struct summary_options {
  api_version version;
  bool with_size = false;
  int64_t size_rw = 0, size_root_fs = 0;
  /// The image's reference names another image now (or none): Docker then shows the id.
  bool image_moved = false;
};
/// Appends the finished element to `out`.
void append_summary(std::string& out, std::string_view summary, const container_record& r, int64_t now_nanos,
                    const summary_options& options = {});

/// "Up 5 seconds", "Exited (0) 3 minutes ago", "Created", "Up 2 minutes (Paused)", "Restarting (1) 4 seconds ago",
/// "Removal In Progress", "Dead"; with " (healthy)" and the like.
std::string status_text(const container_record& r, int64_t now_nanos);

/// go-units HumanDuration: "Less than a second", "1 second", "About a minute", "3 hours", "2 weeks" …
std::string human_duration(int64_t nanos);

struct shown_port {
  std::string ip;  ///< "" not published
  int private_port = 0, public_port = 0;
  std::string type;
};
/// The ports of a running container as the list shows them.
std::vector<shown_port> ports_of(const container_record& r);

/// "none", "starting", "healthy" or "unhealthy".
std::string health_of(const container_record& r);

}  // namespace arca::model
