#include "persistence/archive/tar_writer.hpp"

#include "persistence/archive/entry_writer.hpp"

namespace arca::archive {

struct tar_writer::impl {
  explicit impl(byte_sink sink) : writer(std::move(sink)) {}
  entry_writer writer;
  uint64_t left = 0;
};

tar_writer::tar_writer(byte_sink sink) : self_(std::make_unique<impl>(std::move(sink))) {}
tar_writer::~tar_writer() = default;

result<void> tar_writer::begin(const member& m) {
  if (self_->left != 0) return fail(errc::internal, "write archive: member is shorter than its header says");
  archive_entry* e = self_->writer.fresh();
  archive_entry_copy_pathname(e, m.name.c_str());
  archive_entry_set_filetype(e, m.type == member::kind::folder    ? AE_IFDIR
                                : m.type == member::kind::symlink ? AE_IFLNK
                                                                  : AE_IFREG);
  archive_entry_set_perm(e, static_cast<__LA_MODE_T>(m.mode));
  archive_entry_set_uid(e, m.uid);
  archive_entry_set_gid(e, m.gid);
  archive_entry_set_mtime(e, m.mtime, 0);
  if (m.type == member::kind::symlink) archive_entry_copy_symlink(e, m.link.c_str());
  self_->left = m.type == member::kind::file ? m.size : 0;
  archive_entry_set_size(e, static_cast<la_int64_t>(self_->left));
  return self_->writer.header();
}

result<void> tar_writer::write(std::string_view data) {
  if (data.size() > self_->left) return fail(errc::internal, "write archive: member is longer than its header says");
  self_->left -= data.size();
  return self_->writer.data(data);
}

result<void> tar_writer::add(member m, std::string_view data) {
  m.size = data.size();
  ARCA_CHECK(begin(m));
  return write(data);
}

result<void> tar_writer::finish() {
  if (self_->left != 0) return fail(errc::internal, "write archive: member is shorter than its header says");
  return self_->writer.finish();
}

}  // namespace arca::archive
