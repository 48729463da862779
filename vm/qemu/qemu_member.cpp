#include "vm/qemu/qemu_member.hpp"

#include "guest/proto/stdio_frame.hpp"

namespace arca::vm {
qemu_member::qemu_member(std::shared_ptr<qemu_machine> box, std::string container, std::string cgroup, bool joins)
    : box_(std::move(box)), identity_(box_->identity()), cgroup_(std::move(cgroup)), joins_(joins), is_inside_(!joins) {
  identity_.id = files_.owner = std::move(container);
  box_->attach(identity_.id);
}

qemu_member::qemu_member(std::shared_ptr<qemu_machine> box, machine_identity identity)
    : box_(std::move(box)), identity_(std::move(identity)), joins_(false), is_inside_(true) {
  files_.owner = identity_.id;
  box_->attach(identity_.id);
}

qemu_member::~qemu_member() {
  box_->detach(identity_.id);
}

void qemu_member::settle() {
  auto id = std::move(identity_.id);
  identity_ = box_->identity();
  identity_.id = std::move(id);
  client_ = box_->client_for(identity_.id);
}

result<void> qemu_member::boot(int deadline_ms) {
  if (joins_) {
    ARCA_CHECK(box_->join(identity_.id));
    is_inside_ = true;
  } else {
    ARCA_CHECK(box_->boot(deadline_ms));
  }
  settle();
  return {};
}

result<agent_hello> qemu_member::adopt(int deadline_ms) {
  const auto& known = box_->identity();
  if (known.pid != identity_.pid || known.start_time != identity_.start_time)
    return fail(errc::gone, "the virtual machine has ended: another one is in its place");
  ARCA_TRY(hello, box_->adopt(deadline_ms));
  settle();
  return std::move(hello);
}

result<stdio::hello> qemu_member::hello_of(const std::string& container, const std::string& process,
                                           uint64_t first_sequence) const {
  stdio::hello hello;
  hello.generation = box_->generation();
  hello.first_sequence = first_sequence;
  if (!stdio::set_name(hello.container_id, container) || !stdio::set_name(hello.process_id, process))
    return fail(errc::invalid_argument, "a container or process id has more than 64 bytes");
  return hello;
}

result<unique_fd> qemu_member::connect_stdio(const std::string& container, const std::string& process,
                                             uint64_t first_sequence) {
  ARCA_TRY(hello, hello_of(container, process, first_sequence));
  return client_->stdio(hello);
}

result<std::optional<stdio::hello>> qemu_member::exec_hello(const std::string& container,
                                                            const std::string& process) const {
  ARCA_TRY(hello, hello_of(container, process, 1));
  return std::optional(hello);
}

/// The agent's launcher knows its containers by name (guest/native_launcher.hpp).
result<machine::joined_source> qemu_member::join(const std::string&, const namespace_donor& donor) {
  joined_source out;
  out.path = "container:" + donor.container;
  return out;
}

void qemu_member::destroy() {
  if (destroyed_.exchange(true) || !is_inside_) return;
  const bool last = box_->begin_leaving(identity_.id);
  if (last) box_->kill();
  if (files_.rootfs.valid()) (void)files_.rootfs.get();  // it fails soon where QEMU is gone
  if (last)
    box_->destroy();
  else
    box_->part_with(identity_.id);
}

}  // namespace arca::vm
