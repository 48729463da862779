// GET /containers/json: one element per container, made when the container changes; only what depends on now (Status)
// is filled in for each request.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "actors/model/api_version.hpp"
#include "actors/model/container_record.hpp"

namespace arca::model {

/// The element's JSON text with one byte 0x01 where the Status text belongs and one byte 0x02 where the sizes go.
std::string make_summary(const container_record& r);

struct summary_sizes {
  bool given = false;
  int64_t size_rw = 0, size_root_fs = 0;
};
/// Appends the finished element to `out`.
void append_summary(std::string& out, std::string_view summary, const container_record& r, int64_t now_nanos,
                    api_version version = {}, summary_sizes sizes = {});

/// "Up 5 seconds", "Exited (0) 3 minutes ago", "Created", "Up 2 minutes (Paused)", "Restarting (1) 4 seconds ago",
/// "Removal In Progress", "Dead"; with " (healthy)" and the like.
std::string status_text(const container_record& r, int64_t now_nanos);

/// go-units HumanDuration: "Less than a second", "1 second", "About a minute", "3 hours", "2 weeks" …
std::string human_duration(int64_t nanos);

}  // namespace arca::model
