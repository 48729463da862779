// The clients of a process: attach with or without replay, their stdin, detaching.
#include <sys/stat.h>

#include <algorithm>

#include "actors/streams/process.hpp"

namespace arca {

stream process::attach(const attach_options& o) {
  const auto client = std::make_shared<attached_client>();
  client->id = ++last_client_;
  client->view = {o.out, o.err, o.framed};
  client->output = std::make_shared<byte_channel>();
  if (o.in && o.stream && options_.open_stdin) client->input = std::make_shared<byte_channel>();
  if (options_.tty) client->keys = detach_scanner(o.detach_keys);
  stream answer{client->output, client->input};

  if (o.logs && !has_log()) {
    const std::string text = "Error attaching: configured logging driver does not support reading\n";
    const output_record record{1, 0, 0, text};
    for (const auto& chunk : make_chunks({&record, 1}, {true, false, o.framed})) client->output->push(chunk);
  }
  const bool nothing = !o.stream || (!o.in && !o.out && !o.err);
  if (o.logs && has_log() && nothing) {
    log_query query;
    query.out = o.out;
    query.err = o.err;
    query.framed = o.framed;
    log_reader::start(readers_, files_, query, client->output);
    return answer;
  }
  const bool refused = nothing || (o.logs && !has_log());
  const bool replay = o.logs;
  if (refused || !loop_->post([me = self(), client, replay] { me->add(client, replay); })) {
    client->output->close();
    if (client->input) client->input->abort();
  }
  return answer;
}

void process::add(client_ptr client, bool replay) {
  clients_.push_back(client);
  const auto id = client->id;
  client->output->on_abort(weakly([id](process& me) { me.dropped(id); }));
  if (replay) {
    start_replay(*client);
  } else {
    client->output->on_writable(weakly([id](process& me) {
      if (const auto c = me.find(id)) c->full = false;
      me.update_pause();
    }));
  }
  if (!client->input) return;
  if (stdin_over_)
    client->input->abort();
  else
    want_input(*client);
}

process::client_ptr process::find(uint64_t id) const {
  const auto found = std::find_if(clients_.begin(), clients_.end(), [id](const auto& c) { return c->id == id; });
  return found == clients_.end() ? nullptr : *found;
}

/// The client's output ends; what is queued still reaches it.
void process::end_client(uint64_t id) {
  const auto client = find(id);
  if (client == nullptr) return;
  std::erase(clients_, client);
  client->output->close();
  if (client->input) client->input->abort();
  update_pause();
}

/// The client is gone. As in Docker, that is the end of stdin where stdin is for one client.
void process::dropped(uint64_t id) {
  const auto client = find(id);
  if (client == nullptr) return;
  const bool was_input = client->input && !client->input_ended;
  end_client(id);
  if (was_input && options_.stdin_once && !options_.tty) stdin_is_over();
}

log_place process::end_of_log() {
  const std::lock_guard guard(log_lock_);
  if (writer_->opened()) return writer_->place();
  struct stat st {};
  const auto size = ::stat(files_->path().c_str(), &st) == 0 ? static_cast<uint64_t>(st.st_size) : 0;
  return {files_->current(), size};
}

void process::start_replay(attached_client& client) {
  client.live = false;
  client.replay_rounds = 1;
  client.replay_stop = end_of_log();
  log_query query;
  query.out = client.view.out;
  query.err = client.view.err;
  query.framed = client.view.framed;
  const auto id = client.id;
  client.replay = log_reader::replay(readers_, files_, query, client.output, client.replay_stop,
                                     weakly([id](process& me) { me.replay_arrived(id); }));
}

/// The reader has shown the log up to the place where it ended a moment ago. What came since is shown in a second
/// round, for which the process waits, so that there is no third.
void process::replay_arrived(uint64_t id) {
  const auto client = find(id);
  if (client == nullptr || client->live) return;
  const auto end = end_of_log();
  if (client->replay_stop == end) return go_live(*client);
  ++client->replay_rounds;
  client->replay_stop = end;
  update_pause();
  client->replay->resume(end);
}

void process::go_live(attached_client& client) {
  client.live = true;
  client.replay.reset();
  const auto id = client.id;
  batch begun;
  {
    // Lines that have not ended are in no file yet.
    const std::lock_guard guard(log_lock_);
    if (writer_->opened()) {
      std::vector<output_record> records;
      for (int stream : {1, 2})
        records.push_back({stream, 0, 0, writer_->position().lines[static_cast<size_t>(stream - 1)].bytes});
      begun = make_chunks(records, client.view);
    }
  }
  if (client.ending) return end_client(id);
  client.full = client.output->queued() >= (1u << 20);
  client.output->on_writable(weakly([id](process& me) {
    if (const auto c = me.find(id)) c->full = false;
    me.update_pause();
  }));
  give(client, begun);
  update_pause();
}

void process::want_input(attached_client& client) {
  if (!socket_ || stdin_over_ || !client.input || client.receiving || client.input_ended) return;
  client.receiving = true;
  const auto id = client.id;
  client.input->receive(weakly([id](process& me, batch data) { me.got_input(id, std::move(data)); }));
}

void process::got_input(uint64_t id, batch data) {
  const auto client = find(id);
  if (client == nullptr) return;
  client->receiving = false;
  if (data.empty()) {
    client->input_ended = true;
  } else if (stdin_over_) {
    return;
  } else if (client->keys.active()) {
    std::string pass;
    bool detached = false;
    for (const auto& piece : data) {
      detached = client->keys.feed(*piece, pass);
      if (detached) break;
    }
    if (!pass.empty()) client->stdin_queue.push_back(std::make_shared<const std::string>(std::move(pass)));
    if (detached) {
      pump_stdin();  // what was typed before the keys
      return end_client(id);
    }
  } else {
    for (auto& piece : data) client->stdin_queue.push_back(std::move(piece));
  }
  pump_stdin();
}

/// Clients take turns, as far as the process reads.
void process::pump_stdin() {
  const auto clients = clients_;  // a socket that breaks may end some
  for (bool sent = true; sent;) {
    sent = false;
    for (const auto& client : clients) {
      const size_t room = socket_ ? socket_->stdin_room() : 0;
      if (client->stdin_queue.empty() || room == 0) continue;
      const auto piece = client->stdin_queue.front();
      const auto part = std::string_view(*piece).substr(client->stdin_offset, std::min<size_t>(room, 64u << 10));
      client->stdin_offset += part.size();
      if (client->stdin_offset == piece->size()) {
        client->stdin_queue.pop_front();
        client->stdin_offset = 0;
      }
      sent = true;
      socket_->send_stdin(part);
    }
  }
  for (const auto& client : clients) {
    if (!client->input || !client->stdin_queue.empty()) continue;
    if (client->input_ended)
      input_ended(client->id);
    else
      want_input(*client);
  }
}

/// Docker: the end of a client's input ends the process's where it is for one client; else that client's attachment.
void process::input_ended(uint64_t id) {
  if (options_.stdin_once && !options_.tty) {
    if (!stdin_over_) stdin_is_over();
    return;
  }
  end_client(id);
}

void process::stdin_is_over() {
  if (socket_) socket_->close_stdin();
  on_stdin_closed();
}

void process::on_stdin_closed() {
  stdin_over_ = true;
  for (const auto& client : clients_)
    if (client->input) {
      client->stdin_queue.clear();
      client->input->abort();
    }
}

}  // namespace arca
