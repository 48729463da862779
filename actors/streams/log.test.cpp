// The log's writer and reader together: Docker's line splitting, rotation, tail, follow, and the crash core.
#include <sys/stat.h>
#include <sys/wait.h>

#include <catch2/catch.hpp>
#include <fstream>
#include <random>
#include <thread>

#include "actors/streams/log_reader.hpp"
#include "actors/streams/log_writer.hpp"
#include "actors/streams/testing/fake_agent.hpp"
#include "persistence/base/fs.hpp"

using namespace arca;
using namespace arca::testing;

namespace {

struct log_fixture {
  explicit log_fixture(int64_t max_size = -1, int max_file = 1) {
    options.path = dir / "log";
    options.max_size = max_size;
    options.max_file = max_file;
    reopen();
  }
  /// As a new daemon would.
  void reopen() {
    files = std::make_shared<log_files>(options.path, options.max_file);
    writer = std::make_unique<log_writer>(options, files);
    REQUIRE(writer->open());
  }
  void add(std::string_view text, int stream = 1, int64_t time = 1'600'000'000'000'000'000) {
    const output_record record{stream, ++sequence, time, text};
    writer->append({&record, 1}, scratch);
    files->notify();
  }
  std::string read(log_query q = {}) {
    q.framed = false;
    auto channel = std::make_shared<byte_channel>();
    log_reader::start(pool, files, q, channel);
    return read_all(*channel);
  }
  std::string file(const std::string& suffix = "") { return fs::read_file(options.path + suffix).value_or("[none]"); }

  temp_dir dir;
  log_options options;
  std::shared_ptr<work_pool> pool = std::make_shared<work_pool>(2);
  std::shared_ptr<log_files> files;
  std::unique_ptr<log_writer> writer;
  raw_buffer scratch;
  uint64_t sequence = 0;
};

log_query tail(int64_t lines) {
  log_query q;
  q.tail = lines;
  return q;
}

std::string line_of(int i) {
  return "line " + std::to_string(i) + "\n";
}
std::string lines(int from, int to) {
  std::string out;
  for (int i = from; i < to; ++i) out += line_of(i);
  return out;
}

}  // namespace

TEST_CASE("long lines are split at 16 KiB with one time, as Docker's copier does") {
  log_fixture f;
  const std::string full(16384, 'a');
  f.add(full.substr(0, 16000), 1, 1'600'000'000'000'000'001);
  f.add(full.substr(0, 16000), 1, 1'600'000'000'000'000'002);
  f.add("end\nnext\n", 1, 1'600'000'000'000'000'003);
  CHECK(f.file() == "{\"log\":\"" + full +
                        R"(","stream":"stdout","time":"2020-09-13T12:26:40.000000002Z"})"
                        "\n"
                        "{\"log\":\"" +
                        std::string(15616, 'a') +
                        R"(end\n","stream":"stdout","time":"2020-09-13T12:26:40.000000002Z"})"
                        "\n"
                        R"({"log":"next\n","stream":"stdout","time":"2020-09-13T12:26:40.000000003Z"})"
                        "\n");
  log_fixture exact;
  exact.add(full);
  exact.add("\n");
  CHECK(exact.file().find(full + "\",\"stream\"") != std::string::npos);
  CHECK(exact.file().find("{\"log\":\"\\n\"") != std::string::npos);
  CHECK(exact.read() == full + "\n");
}

TEST_CASE("tail counts entries over all files and before the stream filter") {
  log_fixture f(1500, 3);
  for (int i = 0; i < 60; ++i) f.add(line_of(i), i % 2 + 1);
  CHECK(f.file(".2") != "[none]");
  CHECK(f.file(".3") == "[none]");
  const auto all = f.read();
  CHECK(all == lines(0, 60));
  for (int n = 0; n <= 60; ++n) CHECK(f.read(tail(n)) == lines(60 - n, 60));
  CHECK(f.read(tail(100)) == all);
  auto q = tail(2);
  q.err = false;
  CHECK(f.read(q) == line_of(58));
}

TEST_CASE("since, until, timestamps, details and damaged lines") {
  log_fixture f;
  f.options.attributes = {{"role", "db"}};
  f.reopen();
  constexpr int64_t second = 1'000'000'000, base = 1'600'000'000;
  for (int i = 0; i < 5; ++i) f.add(line_of(i), 1, (base + i) * second);
  log_query q;
  q.since = (base + 2) * second;
  CHECK(f.read(q) == lines(2, 5));
  q.until = (base + 3) * second;
  CHECK(f.read(q) == lines(2, 4));
  q = tail(1);
  q.timestamps = true;
  CHECK(f.read(q) == "2020-09-13T12:26:44.000000000Z line 4\n");
  q.details = true;
  CHECK(f.read(q) == "2020-09-13T12:26:44.000000000Z role=db line 4\n");
  std::ofstream(f.options.path, std::ios::app) << "garbage\n\n{\"log\":\n" << std::string(3'000'000, 'z') << "\n";
  f.add("after\n");
  CHECK(f.read() == lines(0, 5) + "after\n");
}

TEST_CASE("rotation loses and repeats nothing for a follower") {
  for (const auto& [max_size, max_file] : {std::pair{3000, 1}, std::pair{3000, 3}, std::pair{200'000, 2}}) {
    log_fixture f(max_size, max_file);
    f.files->set_live(true);
    log_query q;
    q.framed = false;
    q.follow = true;
    auto channel = std::make_shared<byte_channel>();
    log_reader::start(f.pool, f.files, q, channel);
    std::string got;
    std::thread reader([&] { got = read_all(*channel); });
    constexpr int count = 3000;
    std::string burst;
    for (int i = 0; i < count; ++i) {
      burst += line_of(i);
      if (i % 7 == 0 || i + 1 == count) {
        f.add(burst);
        burst.clear();
      }
      if (i % 100 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    f.files->set_live(false);
    reader.join();
    CHECK((got == lines(0, count)));
  }
}

TEST_CASE("a stalled follower holds bounded memory and files, and its log is still rotated away") {
  log_fixture f(4000, 2);
  f.files->set_live(true);
  log_query q;
  q.follow = true;
  auto channel = std::make_shared<byte_channel>();
  log_reader::start(f.pool, f.files, q, channel);
  const std::string text(3000, 'x');
  for (int i = 0; i < 3000; ++i) f.add(text + "\n");
  CHECK(channel->queued() < (2u << 20));
  size_t fds = 0;
  for ([[maybe_unused]] const auto& e : std::filesystem::directory_iterator("/proc/self/fd")) ++fds;
  CHECK(fds < 330);
  channel->abort();
}

TEST_CASE("until in the future ends a follower when it comes") {
  log_fixture f;
  f.files->set_live(true);
  f.add("now\n", 1, now_nanos());
  log_query q;
  q.follow = true;
  const auto begin = now_nanos();
  q.until = begin + 100'000'000;
  CHECK(f.read(q) == "now\n");
  CHECK(now_nanos() - begin > 90'000'000);
  CHECK(now_nanos() - begin < 20'000'000'000);
}

TEST_CASE("what is behind the checkpoint is cut off; a rotation that was cut short is completed") {
  log_fixture f;
  f.add("one\nhalf ");
  const auto whole = f.file();
  std::ofstream(f.options.path, std::ios::app) << R"({"log":"two\n","stream":"stdout","time":"2020-09-13T12:26:40Z"})"
                                                  "\n{\"lo";
  f.reopen();
  CHECK(f.file() == whole);
  CHECK(f.writer->position().next_sequence == 2);
  f.add("done\n");
  CHECK(f.read() == "one\nhalf done\n");

  log_fixture r(100, 3);
  r.add("a long line that fills the file so that the next one goes to another\n");
  std::filesystem::rename(r.options.path, r.options.path + ".1");
  r.reopen();
  r.add("next\n");
  CHECK(r.read() == "a long line that fills the file so that the next one goes to another\nnext\n");
  // Emptied by hand, and a checkpoint of which nothing is left.
  std::filesystem::resize_file(r.options.path, 0);
  r.reopen();
  CHECK(r.writer->position().next_sequence == 3);
  std::filesystem::resize_file(r.options.path + ".checkpoint", 0);
  std::ofstream(r.options.path) << "whole\ntorn";
  r.reopen();
  CHECK(r.file() == "whole\n");
  CHECK(r.writer->position().next_sequence == 1);
}

TEST_CASE("kill -9 of the writer at random moments: every record is in the log exactly once") {
  // The agent's side: records of random lengths, cut without regard to lines, kept until they are acknowledged.
  std::mt19937 random(11);
  std::string content;
  for (int i = 0; content.size() < 2'000'000; ++i)
    content += "line " + std::to_string(i) + ' ' +
               std::string(random() % 50 == 0 ? 20'000 : random() % 200, 'a' + i % 26) + '\n';
  std::vector<std::string_view> records;
  for (size_t at = 0; at < content.size();) {
    const size_t length = std::min<size_t>(random() % 8 == 0 ? 16384 : 1 + random() % 3000, content.size() - at);
    records.push_back(std::string_view(content).substr(at, length));
    at += length;
  }
  for (const auto& [max_size, max_file] : {std::pair{-1, 1}, std::pair{30'000, 200}}) {
    temp_dir dir;
    log_options options;
    options.path = dir / "log";
    options.max_size = max_size;
    options.max_file = max_file;
    int kills = 0;
    for (;;) {
      int pipe_fds[2];
      int more_fds[2];
      REQUIRE(::pipe(pipe_fds) == 0);
      REQUIRE(::pipe(more_fds) == 0);
      const pid_t child = ::fork();
      if (child == 0) {
        auto files = std::make_shared<log_files>(options.path, options.max_file);
        log_writer writer(options, files);
        raw_buffer scratch;
        if (!writer.open()) ::_exit(1);
        auto next = writer.position().next_sequence;
        char go = 1;
        [[maybe_unused]] auto n = ::write(pipe_fds[1], &go, 1);
        for (int batches = 0; next <= records.size(); ++batches) {
          // However late the parent's kill comes on a busy machine, it finds something to interrupt.
          if (batches == 16 && ::read(more_fds[0], &go, 1) != 1) ::_exit(2);
          std::vector<output_record> batch;
          for (int i = 0; i < 2 && next <= records.size(); ++i, ++next)
            batch.push_back({1, next, 1, records[next - 1]});
          writer.append(batch, scratch);
        }
        writer.end_lines(scratch);
        ::_exit(42);
      }
      char go = 0;
      REQUIRE(::read(pipe_fds[0], &go, 1) == 1);
      if (kills < 150) {
        std::this_thread::sleep_for(std::chrono::microseconds(random() % 300));
        ::kill(child, SIGKILL);
        ++kills;
      }
      REQUIRE(::write(more_fds[1], &go, 1) == 1);  // to the one that nobody kills
      int status = 0;
      ::waitpid(child, &status, 0);
      ::close(pipe_fds[0]);
      ::close(pipe_fds[1]);
      for (const int fd : more_fds) ::close(fd);
      if (WIFEXITED(status)) {
        REQUIRE(WEXITSTATUS(status) == 42);
        break;
      }
    }
    CHECK(kills > 5);
    log_query q;
    q.framed = false;
    auto channel = std::make_shared<byte_channel>();
    log_reader::start(std::make_shared<work_pool>(1), std::make_shared<log_files>(options.path, options.max_file), q,
                      channel);
    const auto got = read_all(*channel);
    const auto differs = std::mismatch(got.begin(), got.end(), content.begin(), content.end()).first - got.begin();
    INFO("kills " << kills << ", sizes " << got.size() << " and " << content.size() << ", the same up to " << differs);
    CHECK((got == content));
  }
}

TEST_CASE("a checkpoint torn in one slot leaves the other") {
  temp_dir dir;
  log_position p;
  p.lines[0].bytes = std::string(16383, 'x');
  {
    auto file = checkpoint_file::open(dir / "c");
    REQUIRE(file);
    for (uint64_t i = 1; i <= 2; ++i) {
      p.next_sequence = i;
      REQUIRE(file->save(p));
    }
  }
  const auto loaded = [&]() -> uint64_t {
    auto file = checkpoint_file::open(dir / "c");
    return file && file->loaded() ? file->loaded()->next_sequence : 0;
  };
  CHECK(loaded() == 2);
  std::fstream bytes(dir / "c", std::ios::in | std::ios::out | std::ios::binary);
  bytes.seekp(5000);
  bytes << 'y';
  bytes.flush();
  CHECK(loaded() == 1);
  bytes.seekp((40 << 10) + 9000);
  bytes << 'y';
  bytes.flush();
  CHECK(loaded() == 0);
}
