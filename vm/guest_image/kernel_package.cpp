#include "vm/guest_image/kernel_package.hpp"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>

#include <memory>

#include "persistence/archive/decompress.hpp"
#include "persistence/archive/member_reader.hpp"
#include "persistence/base/fs.hpp"
#include "persistence/base/text.hpp"
#include "vm/guest_image/package_fields.hpp"

namespace arca::vm {
namespace {
constexpr size_t largest_control = 1u << 20, largest_file = 128u << 20;
constexpr uint64_t largest_package = 1u << 30;  // unpacked
constexpr size_t most_files = 100'000;

tl::unexpected<error> bad(const std::string& file, const std::string& why) {
  return fail(errc::invalid_argument, file + " is no Debian kernel package: " + why);
}

/// The parts of a .deb (deb(5)): an ar archive of debian-binary, control.tar.* and data.tar.*, in this order.
class deb_reader {
 public:
  result<void> open(const std::string& file) {
    file_ = file;
    ARCA_TRY(opened, fs::open(file, O_RDONLY));
    fd_ = std::move(opened);
    archive_.reset(archive_read_new());
    archive_read_support_format_ar(archive_.get());
    if (archive_read_open_fd(archive_.get(), fd_.get(), 1u << 20) != ARCHIVE_OK) return broken();
    return {};
  }

  /// The files of the next part whose name begins with `name`. Valid until the next call.
  result<std::unique_ptr<archive::member_reader>> part(std::string_view name) {
    for (;;) {
      archive_entry* entry = nullptr;
      const int code = archive_read_next_header(archive_.get(), &entry);
      if (code == ARCHIVE_EOF) return bad(file_, "it has no " + std::string(name));
      if (code != ARCHIVE_OK) return broken();
      const char* path = archive_entry_pathname(entry);
      if (path != nullptr && starts_with(path, name)) break;
    }
    return std::make_unique<archive::member_reader>(
        archive::decompress(archive::source_of([this](void* into, size_t size) -> result<size_t> {
          const la_ssize_t n = archive_read_data(archive_.get(), into, size);
          if (n < 0) return broken();
          return static_cast<size_t>(n);
        })));
  }

 private:
  struct free_reader {
    void operator()(::archive* a) const { archive_read_free(a); }
  };
  tl::unexpected<error> broken() const {
    const char* why = archive_error_string(archive_.get());
    return bad(file_, why == nullptr ? "unknown error" : why);
  }

  std::string file_;
  unique_fd fd_;
  std::unique_ptr<::archive, free_reader> archive_;
};

result<package_id> read_control(deb_reader& deb, const std::string& file) {
  ARCA_TRY(control, deb.part("control.tar"));
  archive::member_header header;
  for (;;) {
    ARCA_TRY(more, control->next(header));
    if (!more) return bad(file, "it has no control file");
    if (header.name != "control") continue;
    ARCA_TRY(text, control->read_all(largest_control));
    const package_fields fields(text);
    const package_id id{fields["Package"], fields["Version"], fields["Architecture"]};
    if (!valid_package(id)) return bad(file, "its name or version is none");
    return id;
  }
}

/// "boot/vmlinuz-RELEASE" → RELEASE
std::string release_of(const std::string& path) {
  constexpr std::string_view prefix = "boot/vmlinuz-";
  return starts_with(path, prefix) ? path.substr(prefix.size()) : std::string();
}

bool is_module(const std::string& path) {
  for (const char* ending : {".ko", ".ko.xz", ".ko.gz", ".ko.zst"})
    if (ends_with(path, ending)) return true;
  return false;
}

/// Names of a modules.builtin file: "kernel/fs/ext4/ext4.ko", one a line.
std::set<std::string> built_in_of(std::string_view text) {
  std::set<std::string> out;
  for (const auto& line : split(text, '\n'))
    if (!line.empty()) out.insert(module_name(line.substr(line.rfind('/') + 1)));
  return out;
}

result<void> read_data(deb_reader& deb, const std::string& file, kernel_package& into) {
  ARCA_TRY(data, deb.part("data.tar"));
  archive::member_header header;
  uint64_t taken = 0;
  for (size_t seen = 0;; ++seen) {
    ARCA_TRY(more, data->next(header));
    if (!more) break;
    if (seen > most_files) return bad(file, "it has too many files");
    if (header.type != archive::member_header::kind::file) continue;
    const std::string base = header.name.substr(header.name.rfind('/') + 1);
    const std::string release = release_of(header.name);
    const bool module = header.name.find("lib/modules/") != std::string::npos && is_module(base);
    const bool list = base == "modules.builtin";
    if (release.empty() && !module && !list) continue;
    taken += header.size;
    if (taken > largest_package) return bad(file, "it is larger than 1 GiB");
    ARCA_TRY(content, data->read_all(largest_file));
    if (!release.empty()) {
      if (!into.release.empty()) return bad(file, "it has two kernels");
      into.release = release;
      into.bzimage = std::move(content);
    } else if (module) {
      into.modules.files[module_name(base)] = std::move(content);
    } else {
      into.modules.built_in = built_in_of(content);
    }
  }
  if (into.release.empty()) return bad(file, "it has no /boot/vmlinuz-…");
  return {};
}

bool only(std::string_view text, std::string_view allowed) {
  return !text.empty() && text.size() <= 128 && text.find_first_not_of(allowed) == std::string_view::npos;
}
}  // namespace

bool valid_package(const package_id& id) {
  constexpr std::string_view name = "abcdefghijklmnopqrstuvwxyz0123456789+-.";
  constexpr std::string_view version = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.+-:~";
  return only(id.name, name) && id.name.front() != '.' && id.name.front() != '-' && only(id.version, version) &&
         id.version.front() >= '0' && id.version.front() <= '9' && only(id.architecture, name);
}

result<package_id> identify_package(const std::string& deb_file) {
  deb_reader deb;
  ARCA_CHECK(deb.open(deb_file));
  return read_control(deb, deb_file);
}

result<kernel_package> read_kernel_package(const std::string& deb_file) {
  kernel_package out;
  deb_reader deb;
  ARCA_CHECK(deb.open(deb_file));
  ARCA_TRY(id, read_control(deb, deb_file));
  out.id = id;
  if (auto read = read_data(deb, deb_file, out); !read)
    return fail(read.error().code() == errc::invalid_argument
                    ? read.error()
                    : error(errc::invalid_argument, deb_file + ": " + read.error().message()));
  return out;
}

}  // namespace arca::vm
