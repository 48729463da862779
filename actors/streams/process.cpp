#include "actors/streams/process.hpp"

#include <unistd.h>

#include <algorithm>

#include "persistence/base/log.hpp"

namespace arca {

namespace {

constexpr int most_last_reads = 64;  ///< of 256 KiB

/// Encoding room of one loop; shrinks again after a burst.
raw_buffer& scratch() {
  static thread_local raw_buffer buffer;
  buffer.trim(4u << 20);
  return buffer;
}

}  // namespace

std::shared_ptr<process_io> process_io::make(stdio_service& service, options o) {
  return std::make_shared<process>(service.impl().choose(), service.impl().readers, std::move(o));
}

process::process(std::shared_ptr<io_loop> loop, std::shared_ptr<work_pool> readers, options o)
    : loop_(std::move(loop)),
      readers_(std::move(readers)),
      options_(std::move(o)),
      files_(options_.log.path.empty() ? nullptr
                                       : std::make_shared<log_files>(options_.log.path, options_.log.max_file)) {
  if (has_log()) writer_.emplace(options_.log, files_);
}

process::~process() {
  if (has_log()) files_->set_live(false);
  for (const auto& client : clients_) {
    if (client->output) client->output->close();
    if (client->input) client->input->abort();
  }
}

bool process::open_log() {
  if (!writer_ || log_broken_ || abandoned_) return false;
  if (writer_->opened()) return true;
  if (const auto opened = writer_->open(); !opened) {
    log_broken_ = true;
    log::error("container log cannot be written", log::kv("file", options_.log.path),
               log::kv("error", opened.error().message()));
    return false;
  }
  return true;
}

uint64_t process::next_sequence() {
  const std::lock_guard guard(log_lock_);
  settled_ = log_broken_ = false;
  if (has_log()) files_->set_live(true);
  return open_log() ? writer_->position().next_sequence : known_sequence_ + 1;
}

void process::bind(unique_fd socket, std::function<void(const stdio_end&)> on_end) {
  const auto fd = std::make_shared<unique_fd>(std::move(socket));
  bound_ = true;
  const bool posted = loop_->post([me = self(), fd, on_end] { me->bound(std::move(*fd), on_end); });
  if (!posted) on_end({});
}

void process::bound(unique_fd socket, std::function<void(const stdio_end&)> on_end) {
  if (finishing_) complete_finish();
  if (socket_) socket_->close();
  const auto next = next_sequence();
  {
    const std::lock_guard guard(log_lock_);
    socket_run_ = run_;
  }
  on_end_ = std::move(on_end);
  socket_ = stdio_socket::open(*loop_, std::move(socket), self(), next - 1);
  if (size_) socket_->resize(size_->first, size_->second);
  if (stdin_over_) socket_->close_stdin();
  update_pause();
  pump_stdin();
}

void process::on_records(std::span<const output_record> records) {
  deliver(records);
  size_t bytes = 0;
  for (const auto& r : records) bytes += r.bytes.size();
  {
    const std::lock_guard guard(log_lock_);
    if (socket_run_ != run_) return;
    known_sequence_ = records.back().sequence;
    if (open_log()) writer_->append(records, scratch());
  }
  if (has_log()) files_->notify();
  if (socket_) socket_->ack(records.back().sequence, bytes);
}

void process::on_end(const stdio::frame& end) {
  {
    const std::lock_guard guard(log_lock_);
    if (socket_run_ == run_ && open_log()) writer_->end_lines(scratch());
  }
  if (has_log()) files_->notify();
  const auto socket = std::move(socket_);
  bound_ = false;
  socket->close();
  auto told = std::move(on_end_);
  on_end_ = nullptr;
  if (told) told({true, (end.reserved & stdio::exit_told) != 0, end.reserved & 0xff, end.time});
  if (finishing_) complete_finish();
}

void process::on_broken(std::string_view why) {
  log::debug("stdio connection ended early", log::kv("why", why));
  socket_.reset();
  bound_ = false;
  auto told = std::move(on_end_);
  on_end_ = nullptr;
  if (told) told({});
  if (finishing_) complete_finish();
}

void process::deliver(std::span<const output_record> records) {
  if (clients_.empty()) return;
  // A record that lies half in the log (log_position::skip) was seen by nobody of this daemon, but a replay has shown
  // its first part.
  std::vector<output_record> trimmed;
  if (has_log()) {
    const std::lock_guard guard(log_lock_);
    const auto& position = writer_->position();
    if (position.skip != 0 && records.front().sequence == position.next_sequence) {
      trimmed.assign(records.begin(), records.end());
      trimmed.front().bytes.remove_prefix(std::min<size_t>(position.skip, trimmed.front().bytes.size()));
      records = trimmed;
    }
  }
  std::array<std::optional<batch>, 8> made;  // by view
  const auto clients = clients_;             // give() may end one
  for (const auto& client : clients) {
    if (!client->live || !client->output) continue;
    auto& chunks = made[client->view.index()];
    if (!chunks) chunks = make_chunks(records, client->view);
    give(*client, *chunks);
  }
}

void process::give(attached_client& client, const batch& chunks) {
  for (const auto& chunk : chunks) {
    switch (client.output->push(chunk)) {
      case byte_channel::push_result::more:
        break;
      case byte_channel::push_result::full:
        client.full = true;
        break;
      case byte_channel::push_result::closed:
        return;  // on_abort drops it
    }
  }
  if (!client.full) return;
  if (finishing_)
    end_client(client.id);  // the process is over: nobody waits for this client any more
  else
    update_pause();
}

/// Docker's rule: a client that does not read stops the process. Nobody else.
void process::update_pause() {
  if (!socket_) return;
  bool paused = false;
  if (!finishing_)
    for (const auto& client : clients_) paused = paused || client->full || (!client->live && client->replay_rounds > 1);
  socket_->pause(paused);
}

void process::resize(uint32_t rows, uint32_t columns) {
  loop_->post([me = self(), rows, columns] {
    me->size_ = {rows, columns};
    if (me->socket_) me->socket_->resize(rows, columns);
  });
}

void process::finish() {
  if (!bound_) settle_log();
  loop_->post([me = self()] { me->begin_finish(); });
}

void process::abandon() {
  finish();
  const std::lock_guard guard(log_lock_);
  abandoned_ = true;
  if (writer_) writer_->close();
}

/// The process is over, but what it wrote may still lie in the socket: it goes to the log. Not more than a socket
/// holds: an agent may write without end.
void process::begin_finish() {
  if (finishing_) return;
  finishing_ = true;
  reads_left_ = most_last_reads;
  if (!socket_) return complete_finish();
  const auto clients = clients_;
  for (const auto& client : clients)
    if (client->full) end_client(client->id);
  if (!socket_) return;
  update_pause();
  drain();
}

void process::drain() {
  if (!finishing_) return;
  if (socket_ && --reads_left_ >= 0 && socket_->read_once()) {
    loop_->post([me = self()] { me->drain(); });  // others get their turn
    return;
  }
  if (finishing_) complete_finish();
}

/// Writes what has begun and closes the log. Once a run: the container's files may be removed right after finish().
void process::settle_log() {
  if (!has_log()) return;
  const std::lock_guard guard(log_lock_);
  if (settled_) return;
  settled_ = true;
  // A container that was never started needs no files; one of an earlier daemon may have an unfinished line.
  if (!writer_->opened() && ::access((options_.log.path + ".checkpoint").c_str(), F_OK) != 0) return;
  if (!open_log()) return;
  raw_buffer room;
  if (writer_->unfinished()) writer_->end_lines(room);
  writer_->close();
}

void process::complete_finish() {
  finishing_ = false;
  bound_ = false;
  if (socket_) {
    const auto socket = std::move(socket_);
    socket->close();
  }
  if (auto told = std::move(on_end_)) {
    on_end_ = nullptr;
    told({});
  }
  size_.reset();
  stdin_over_ = false;  // clients may attach for the next start from now on
  settle_log();
  if (has_log()) files_->set_live(false);
  const auto clients = clients_;
  for (const auto& client : clients) {
    if (client->live)
      end_client(client->id);
    else
      client->ending = true;  // first what the log has
  }
}

void process::restart() {
  {
    const std::lock_guard guard(log_lock_);
    ++run_;
    known_sequence_ = 0;
    settled_ = false;
    if (open_log()) {
      raw_buffer room;
      if (writer_->unfinished()) writer_->end_lines(room);
      writer_->restart();
    }
  }
  loop_->post([me = self()] { me->began_again(); });
}

void process::began_again() {
  if (finishing_) complete_finish();
  if (socket_) {
    const auto socket = std::move(socket_);
    socket->close();
  }
  on_end_ = nullptr;
  stdin_over_ = false;
}

result<stream> process::read_log(const log_query& query) {
  if (!has_log()) return fail(errc::unsupported, "configured logging driver does not support reading");
  auto output = std::make_shared<byte_channel>();
  log_reader::start(readers_, files_, query, output);
  return stream{output, nullptr};
}

}  // namespace arca
