#include "guest/stdio_call.hpp"

#include <algorithm>

#include "guest/requests.hpp"
#include "guest/rpc_status.hpp"
#include "persistence/base/tsan.hpp"

namespace arca::guest {
namespace {
// What gRPC hands from thread to thread (persistence/base/tsan.hpp).
[[maybe_unused]] char through_grpc;

constexpr size_t worth_lending = 4096;  // less is copied sooner than it is kept track of

// The first `size` bytes, from where they are, for as long as gRPC needs them.
grpc::Slice lend(const outgoing& what, size_t size) {
  using owner = std::shared_ptr<const void>;
  return {const_cast<char*>(what.at), size, [](void* held) { delete static_cast<owner*>(held); },
          new owner(what.owner)};
}
}  // namespace

class stdio_call::connection final : public stdio_connection {
 public:
  explicit connection(stdio_call& call) : call_(&call) {}
  ~connection() override {
    if (call_) call_->released();
  }
  void gone() { call_ = nullptr; }

  void await_end(std::function<void()> ended) override {
    if (call_) call_->tell_end_ = std::move(ended);
  }
  void begin(ready tell) override {
    if (!call_) return;
    call_->tell_end_ = nullptr;
    call_->tell_ = std::move(tell);
    // What came before, and not from within begin.
    call_->loop_.post([this, alive = std::weak_ptr(alive_)] {
      if (!alive.expired() && call_) call_->tell(true, false);
    });
  }
  ssize_t send(const outgoing* parts, size_t count, bool last) override {
    return call_ ? call_->send(parts, count, last) : -1;
  }
  ssize_t receive(char* into, size_t room) override { return call_ ? call_->receive(into, room) : -1; }

 private:
  stdio_call* call_;
  std::shared_ptr<int> alive_ = std::make_shared<int>();
};

stdio_call::stdio_call(loop& on, agent& what, std::function<void(stdio_call*)> done)
    : loop_(on), agent_(what), done_(std::move(done)) {
  reading_ = true;
  ARCA_TSAN_RELEASE(&through_grpc);
  StartRead(&in_);
}

stdio_call::~stdio_call() {
  if (connection_) connection_->gone();
}

void stdio_call::OnReadDone(bool good) {
  ARCA_TSAN_ACQUIRE(&through_grpc);
  loop_.post([this, good] {
    reading_ = false;
    if (finished_) return;
    if (good) return on_message();
    // The daemon will send nothing more; if it has gone, OnCancel says so.
    input_over_ = true;
    if (!greeted_) return finish({grpc::StatusCode::INVALID_ARGUMENT, "the stream begins with a hello"});
    tell(true, false);
  });
}

void stdio_call::OnWriteDone(bool good) {
  ARCA_TSAN_ACQUIRE(&through_grpc);
  loop_.post([this, good] {
    writing_ = false;
    if (finished_) return;
    if (!good) return finish(grpc::Status::CANCELLED);
    untold_.reset();
    if (closing_) return finish(grpc::Status::OK);
    if (std::exchange(answers_first_, false)) read_more();
    if (std::exchange(blocked_, false)) tell(false, true);
  });
}

void stdio_call::OnCancel() {
  ARCA_TSAN_ACQUIRE(&through_grpc);
  loop_.post([this] {
    abandon_untold();
    finish(grpc::Status::CANCELLED);
  });
}

void stdio_call::OnDone() {
  ARCA_TSAN_ACQUIRE(&through_grpc);
  loop_.post([this] { done_(this); });
}

void stdio_call::on_message() {
  if (!incoming_.take(in_)) return finish({grpc::StatusCode::INVALID_ARGUMENT, "too many bytes in a message"});
  if (!greeted_) return greet();
  if (incoming_.left() == 0) return read_more();
  tell(true, false);
}

void stdio_call::greet() {
  stdio::hello hello;
  if (incoming_.read(reinterpret_cast<char*>(&hello), sizeof hello) != sizeof hello)
    return finish({grpc::StatusCode::INVALID_ARGUMENT, "the stream begins with a hello"});
  greeted_ = true;
  if (hello.kind == stdio::hello_kind::exec) return exec(hello);
  if (incoming_.left() != 0) return finish({grpc::StatusCode::INVALID_ARGUMENT, "a hello comes alone"});
  adopt(hello);
}

void stdio_call::exec(const stdio::hello& hello) {
  arca::agent::v1::ExecRequest request;
  if (hello.magic_number != stdio::magic || !request.ParseFromString(incoming_.all()) ||
      request.container_id() != stdio::name_of(hello.container_id) ||
      request.process_id() != stdio::name_of(hello.process_id))
    return finish({grpc::StatusCode::INVALID_ARGUMENT, "the hello does not belong to its request"});
  if (auto controls = agent_.hello(hello.generation); !controls) return finish(to_status(controls));
  agent_.exec(from(request),
              [this, &on = agent_, hello, alive = std::weak_ptr(alive_)](const result<process_started>& process) {
                if (alive.expired() || finished_) {
                  if (process) on.abandon(stdio::name_of(hello.container_id), stdio::name_of(hello.process_id));
                  return;
                }
                if (!process) return finish(to_status(process));
                untold_ = hello;
                stdio::frame started;
                started.kind = stdio::frame_kind::started;
                started.sequence = static_cast<uint64_t>(process->pid);
                started.time = process->started_at;
                first_.assign(reinterpret_cast<const char*>(&started), sizeof started);
                auto bytes = hello;
                bytes.kind = stdio::hello_kind::process;
                answers_first_ = true;
                adopt(bytes);
                // After what there is to be told already: a process that is over soon costs one message.
                loop_.post([this, alive] {
                  if (!alive.expired() && !first_.empty()) send(nullptr, 0, false);
                });
              });
}

void stdio_call::adopt(const stdio::hello& hello) {
  auto made = std::make_unique<connection>(*this);
  connection_ = made.get();
  agent_.adopt_stdio(hello, std::move(made));  // if it is refused, it has been released
  read_more();
}

void stdio_call::read_more() {
  if (finished_ || reading_ || input_over_ || answers_first_) return;
  reading_ = true;
  ARCA_TSAN_RELEASE(&through_grpc);
  StartRead(&in_);
}

// Who is told reads a part of a message at a time.
void stdio_call::tell(bool readable, bool writable) {
  if (readable && connection_ && (finished_ || input_over_) && tell_end_) return std::exchange(tell_end_, {})();
  size_t before = 0;
  do {
    if (!connection_ || !tell_) return;
    before = incoming_.left();
    const auto told = tell_;  // it may be the end of the connection
    told(readable, writable);
    writable = false;
  } while (incoming_.left() > 0 && incoming_.left() < before);
}

ssize_t stdio_call::receive(char* into, size_t room) {
  const size_t n = incoming_.read(into, room);
  if (incoming_.left() == 0) read_more();
  if (n > 0) return static_cast<ssize_t>(n);
  return finished_ || input_over_ ? -1 : 0;
}

ssize_t stdio_call::send(const outgoing* parts, size_t count, bool last) {
  if (finished_) return -1;
  if (writing_) {
    blocked_ = true;
    return 0;
  }
  size_t size = 0;
  for (size_t i = 0; i < count; ++i) size += parts[i].size;
  std::string small = std::exchange(first_, {});
  const size_t room = arca::agent::most_message_bytes - small.size();
  last = last && size <= room;
  size = std::min(size, room);
  std::vector<grpc::Slice> bytes;
  for (size_t i = 0, left = size; i < count && left > 0; ++i) {
    const size_t part = std::min(parts[i].size, left);
    left -= part;
    if (!parts[i].owner || part < worth_lending) {
      small.append(parts[i].at, part);
      continue;
    }
    if (!small.empty()) bytes.emplace_back(std::exchange(small, {}));
    bytes.push_back(lend(parts[i], part));
  }
  if (!small.empty()) bytes.emplace_back(small);
  out_ = arca::agent::to_message(std::move(bytes));
  writing_ = true;
  ARCA_TSAN_RELEASE(&through_grpc);
  if (last) {  // the answer, its end and the status are one message; OnCancel tells if it gets lost
    finished_ = true;
    StartWriteAndFinish(&out_, {}, grpc::Status::OK);
  } else {
    StartWrite(&out_);
  }
  return static_cast<ssize_t>(size);
}

void stdio_call::abandon_untold() {
  const auto lost = std::exchange(untold_, {});
  if (lost) agent_.abandon(stdio::name_of(lost->container_id), stdio::name_of(lost->process_id));
}

void stdio_call::released() {
  connection_ = nullptr;
  tell_ = nullptr;
  tell_end_ = nullptr;
  if (writing_)
    closing_ = true;
  else
    finish(grpc::Status::OK);
}

void stdio_call::finish(const grpc::Status& status) {
  if (std::exchange(finished_, true)) return;
  abandon_untold();
  ARCA_TSAN_RELEASE(&through_grpc);
  Finish(status);
  tell(true, false);
}

}  // namespace arca::guest
