#include "vm/qemu/command_line.hpp"

#include <charconv>

#include "guest/proto/vm_start.hpp"
#include "persistence/base/text.hpp"

namespace arca::vm {
namespace {

constexpr uint64_t most_memory_mib = 1u << 20;
constexpr unsigned most_cpus = 64;

/// QEMU reads "," as the end of a value; doubled it is the character.
std::string escaped(const std::string& value) {
  std::string out;
  for (const char c : value) {
    out += c;
    if (c == ',') out += c;
  }
  return out;
}

std::string number(uint64_t n) {
  return std::to_string(n);
}

/// A descriptor of QEMU as a path: what QEMU itself opens by name (kernel, initramfs).
std::string path_of(int fd) {
  return "/proc/self/fd/" + number(static_cast<uint64_t>(fd));
}

std::string kernel_arguments(const qemu_settings& s) {
  std::string words = "console=ttyS0 quiet panic=-1 cryptomgr.notests";
  if (s.kind == accelerator::tcg) {
    // A guest under TCG cannot attack its host by speculation, and the cures cost 0.2 s of a start.
    words += " mitigations=off";
    // On a host that is busy the guest counts its first timer interrupts in vain, and panics ("IO-APIC + timer doesn't
    // work!"). A guest of KVM's knows by itself not to count.
    words += " no_timer_check";
    // What the kernel does for each allocation, copy, file and system call is dear where each instruction is
    // translated; translating a seccomp program to machine code throws away what QEMU has translated. Together a sixth
    // of an exec's time. A host without KVM is nowhere to keep enemies apart; a guest of KVM's has all of it.
    words += " init_on_alloc=0 hardened_usercopy=off randomize_kstack_offset=off kfence.sample_interval=0";
    words += " lsm=landlock,yama audit=0 sysctl.net.core.bpf_jit_enable=0";
    // `rep movs` is emulated word by word, its loop as well: without it the kernel copies and clears by plain moves,
    // twice as fast. Nobody reads the pressure, and memory of the kernel's own is bounded by the machine's size.
    words += " clearcpuid=rep_good psi=0 cgroup.memory=nokmem";
    if (s.cpus == 1) words += " noreplace-smp";
    if (s.tsc_khz != 0) words += " tsc_early_khz=" + number(s.tsc_khz);
  }
  if (!s.more_kernel_arguments.empty()) words += ' ' + s.more_kernel_arguments;
  return words;
}

}  // namespace

const char* to_string(accelerator a) {
  return a == accelerator::kvm ? "kvm" : "tcg";
}

result<std::vector<std::string>> qemu_command_line(const qemu_settings& s) {
  if (s.memory_mib < least_memory_mib || s.memory_mib > most_memory_mib)
    return fail(errc::invalid_argument,
                "a virtual machine has from " + number(least_memory_mib) + " MiB to 1 TiB of memory");
  if (s.cpus == 0 || s.cpus > most_cpus)
    return fail(errc::invalid_argument, "a virtual machine has from 1 to 64 processors");
  if (s.more_kernel_arguments.find('\0') != std::string::npos || s.more_kernel_arguments.size() > 1024)
    return fail(errc::invalid_argument, "kernel arguments have at most 1024 bytes");
  const auto memory = number(s.memory_mib) + 'M';
  const bool tcg = s.kind == accelerator::tcg;
  const auto listen = [](const char* id, int fd) {
    return std::string("socket,id=") + id + ",fd=" + number(static_cast<uint64_t>(fd)) + ",server=on,wait=off";
  };
  std::vector<std::string> a = {s.program,     "-name",           "guest=" + escaped(s.name),
                                "-nodefaults", "-no-user-config", "-display",
                                "none",        "-no-reboot"};
  const auto add = [&a](std::initializer_list<std::string> words) { a.insert(a.end(), words); };
  // The buffer of translated code grows to 1 GiB by default.
  add({"-accel", tcg ? "tcg,tb-size=64" : "kvm"});
  add({"-machine", "q35,sata=off,smbus=off,i8042=off,vmport=off,usb=off,graphics=off,memory-backend=mem"});
  // TCG: all that programs for x86-64-v3 ask for, without what makes the kernel slower when it is emulated.
  add({"-cpu", tcg ? "max,-erms,-fsrm,-la57,-smap,-smep,-pku,-umip" : "host,migratable=off"});
  add({"-smp", number(s.cpus), "-m", memory});
  // Shared, because virtiofsd reads and writes the guest's memory: without share=on the guest hangs without a word.
  add({"-object", "memory-backend-memfd,id=mem,size=" + memory + ",share=on"});
  add({"-kernel", path_of(s.fds.kernel), "-initrd", path_of(s.fds.initrd), "-append", kernel_arguments(s)});
  add({"-chardev", listen("qmp", s.fds.qmp), "-mon", "chardev=qmp,mode=control"});
  add({"-add-fd", "fd=" + number(static_cast<uint64_t>(s.fds.console)) + ",set=2"});
  add({"-chardev", "file,id=console,path=/dev/fdset/2,append=on", "-serial", "chardev:console"});
  add({"-device", "virtio-serial-pci,id=serial", "-chardev", listen("agent", s.fds.agent)});
  add({"-device", std::string("virtserialport,bus=serial.0,chardev=agent,name=") + vm_start::port_name});
  for (unsigned i = 0; i < s.root_ports; ++i)
    add({"-device",
         "pcie-root-port,id=rp" + number(i) + ",bus=pcie.0,chassis=" + number(i + 1) + ",slot=" + number(i + 1)});
  // A panic ends QEMU with 1; without the device it would look like a reboot.
  add({"-device", "pvpanic-pci", "-action", "panic=exit-failure"});
  add({"-device", "virtio-balloon-pci,free-page-reporting=on"});
  add({"-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"});
  return a;
}

uint64_t tsc_khz_of(const std::string& cpuinfo) {
  const auto value = [&](const char* name) -> std::string {
    for (const auto& line : split(cpuinfo.substr(0, cpuinfo.find("\n\n")), '\n')) {
      const auto colon = line.find(':');
      if (colon != std::string::npos && starts_with(line, name) && colon + 2 <= line.size())
        return line.substr(colon + 2);
    }
    return {};
  };
  if ((' ' + value("flags") + ' ').find(" constant_tsc ") == std::string::npos) return 0;
  const auto text = value("bogomips");  // "4600.00": always two decimals
  const auto point = text.find('.');
  if (point == std::string::npos || text.size() != point + 3) return 0;
  uint64_t whole = 0, hundredths = 0;
  const char* begin = text.data();
  if (std::from_chars(begin, begin + point, whole).ptr != begin + point ||
      std::from_chars(begin + point + 1, begin + text.size(), hundredths).ptr != begin + text.size())
    return 0;
  return (whole * 100 + hundredths) * 5;
}

}  // namespace arca::vm
