#include "guest/agent_log.hpp"

#include <fcntl.h>

#include <algorithm>
#include <utility>

#include "persistence/base/fs.hpp"
#include "persistence/base/text.hpp"

namespace arca::guest {

void agent_log::open(const std::string& path) {
  file_.reset(::open(path.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600));
  const off_t end = file_ ? ::lseek(file_.get(), 0, SEEK_END) : 0;
  size_ = end > 0 ? static_cast<size_t>(end) : 0;
}

void agent_log::open_console(const std::string& path) {
  file_.reset(::open(path.c_str(), O_WRONLY | O_CLOEXEC | O_NOCTTY));
  console_ = true;
}

bool agent_log::burst() {
  constexpr int most_a_minute = 60;
  const int64_t minute = now_nanos() / 60'000'000'000;
  if (std::exchange(minute_, minute) != minute) lines_ = 0;
  return ++lines_ > most_a_minute;
}

void agent_log::write(std::string_view line) {
  if (!file_ || (console_ && burst())) return;
  std::string text = rfc3339_nano(now_nanos());
  text += ' ';
  text += line.substr(0, 2048);
  std::ranges::replace(text, '\n', ' ');
  text += '\n';
  if (!console_ && size_ + text.size() > limit) drop_older_half();
  if (fs::write_all(file_.get(), text)) size_ += text.size();
}

void agent_log::drop_older_half() {
  std::string keep(limit / 2, '\0');
  const auto from = size_ > keep.size() ? static_cast<off_t>(size_ - keep.size()) : 0;
  const ssize_t n = ::pread(file_.get(), keep.data(), keep.size(), from);
  keep.resize(n > 0 ? static_cast<size_t>(n) : 0);
  keep.erase(0, keep.find('\n') == std::string::npos ? keep.size() : keep.find('\n') + 1);
  size_ = 0;
  if (::ftruncate(file_.get(), 0) == 0 && fs::write_all(file_.get(), keep)) size_ = keep.size();
}

agent_log& log() {
  static agent_log instance;
  return instance;
}

}  // namespace arca::guest
