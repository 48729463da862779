#include "vm/qemu/command_line.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <thread>

#include "vm/qemu/device_plan.hpp"
#include "vm/qemu/machine_size.hpp"
#include "vm/qemu/virtiofsd.hpp"

using namespace arca;
using namespace arca::vm;

namespace {
std::string join(const std::vector<std::string>& words) {
  std::string text;
  for (const auto& word : words) text += (text.empty() ? "" : " ") + word;
  return text;
}
}  // namespace

TEST_CASE("command line: TCG, whole") {
  qemu_settings s;
  s.name = "/run/arca/vm/0a,b";
  s.tsc_khz = 2300000;
  const auto a = qemu_command_line(s);
  REQUIRE(a);
  CHECK(
      join(*a) ==
      "/usr/bin/qemu-system-x86_64 -name guest=/run/arca/vm/0a,,b -nodefaults -no-user-config -display none -no-reboot "
      "-accel tcg,tb-size=64 "
      "-machine q35,sata=off,smbus=off,i8042=off,vmport=off,usb=off,graphics=off,memory-backend=mem "
      "-cpu max,-erms,-fsrm,-la57,-smap,-smep,-pku,-umip -smp 1 -m 256M "
      "-object memory-backend-memfd,id=mem,size=256M,share=on "
      "-kernel /proc/self/fd/6 -initrd /proc/self/fd/7 "
      "-append console=ttyS0 quiet panic=-1 cryptomgr.notests mitigations=off no_timer_check "
      "init_on_alloc=0 hardened_usercopy=off randomize_kstack_offset=off kfence.sample_interval=0 "
      "lsm=landlock,yama audit=0 sysctl.net.core.bpf_jit_enable=0 "
      "clearcpuid=rep_good psi=0 cgroup.memory=nokmem noreplace-smp "
      "tsc_early_khz=2300000 "
      "-chardev socket,id=qmp,fd=3,server=on,wait=off -mon chardev=qmp,mode=control "
      "-add-fd fd=5,set=2 -chardev file,id=console,path=/dev/fdset/2,append=on -serial chardev:console "
      "-device virtio-serial-pci,id=serial -chardev socket,id=agent,fd=4,server=on,wait=off "
      "-device virtserialport,bus=serial.0,chardev=agent,name=agent "
      "-device pcie-root-port,id=rp0,bus=pcie.0,chassis=1,slot=1 "
      "-device pcie-root-port,id=rp1,bus=pcie.0,chassis=2,slot=2 "
      "-device pcie-root-port,id=rp2,bus=pcie.0,chassis=3,slot=3 "
      "-device pcie-root-port,id=rp3,bus=pcie.0,chassis=4,slot=4 "
      "-device pvpanic-pci -action panic=exit-failure -device virtio-balloon-pci,free-page-reporting=on "
      "-sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny");
}

TEST_CASE("command line: KVM keeps the cures for speculation and the guest's own clock") {
  qemu_settings s;
  s.kind = accelerator::kvm;
  s.memory_mib = 1024;
  s.cpus = 4;
  s.root_ports = 2;
  s.tsc_khz = 2300000;
  s.more_kernel_arguments = "loglevel=7 debug";
  const auto a = qemu_command_line(s);
  REQUIRE(a);
  const auto text = join(*a);
  CHECK(text.find("-accel kvm -machine") != std::string::npos);
  CHECK(text.find("-cpu host,migratable=off -smp 4 -m 1024M") != std::string::npos);
  CHECK(text.find("size=1024M,share=on") != std::string::npos);
  CHECK(text.find("-append console=ttyS0 quiet panic=-1 cryptomgr.notests loglevel=7 debug -chardev") !=
        std::string::npos);
  CHECK(text.find("id=rp1") != std::string::npos);
  CHECK(text.find("id=rp2") == std::string::npos);
}

TEST_CASE("command line: several processors under TCG, no known clock") {
  qemu_settings s;
  s.cpus = 2;
  const auto text = join(*qemu_command_line(s));
  CHECK(text.find("noreplace-smp") == std::string::npos);
  CHECK(text.find("tsc_early_khz") == std::string::npos);
}

TEST_CASE("command line: sizes that no machine can have") {
  qemu_settings s;
  s.memory_mib = 127;
  CHECK(qemu_command_line(s).error().code() == errc::invalid_argument);
  s.memory_mib = (1u << 20) + 1;
  CHECK_FALSE(qemu_command_line(s));
  s.memory_mib = 128;
  CHECK(qemu_command_line(s));
  s.cpus = 0;
  CHECK_FALSE(qemu_command_line(s));
  s.cpus = 65;
  CHECK_FALSE(qemu_command_line(s));
  s.cpus = 1;
  s.more_kernel_arguments = std::string("a\0b", 3);
  CHECK_FALSE(qemu_command_line(s));
  s.more_kernel_arguments = std::string(1025, 'a');
  CHECK_FALSE(qemu_command_line(s));
}

TEST_CASE("the host's time stamp counter") {
  const std::string cpu =
      "processor\t: 0\ncpu MHz\t\t: 2299.998\nflags\t\t: fpu tsc constant_tsc nx\nbogomips\t: 4600.01\n\n";
  CHECK(tsc_khz_of(cpu + "processor\t: 1\nbogomips\t: 1.00\n") == 2300005);
  CHECK(tsc_khz_of("flags\t: fpu tsc nx\nbogomips\t: 4600.00\n") == 0);
  CHECK(tsc_khz_of("flags\t: constant_tsc\nbogomips\t: 4600\n") == 0);
  CHECK(tsc_khz_of("flags\t: constant_tsc\nbogomips\t: x.00\n") == 0);
  CHECK(tsc_khz_of("flags\t: constant_tsc\nbogomips\t:\n") == 0);
  CHECK(tsc_khz_of("") == 0);
}

TEST_CASE("virtiofsd: the arguments of both programs") {
  const virtiofsd_program c{"/usr/lib/qemu/virtiofsd", virtiofsd_flavour::c};
  CHECK(join(virtiofsd_arguments(c, "/m/rootfs", share_cache::exclusive, 3)) ==
        "/usr/lib/qemu/virtiofsd -f --fd=3 -o "
        "source=/m/rootfs,cache=always,writeback,xattr,announce_submounts,log_level=warn");
  CHECK(join(virtiofsd_arguments(c, "/m/shares", share_cache::shared, 3)) ==
        "/usr/lib/qemu/virtiofsd -f --fd=3 -o source=/m/shares,cache=auto,xattr,announce_submounts,log_level=warn");
  const virtiofsd_program rust{"/usr/libexec/virtiofsd", virtiofsd_flavour::rust};
  CHECK(join(virtiofsd_arguments(rust, "/m/rootfs", share_cache::exclusive, 3)) ==
        "/usr/libexec/virtiofsd --fd 3 --shared-dir /m/rootfs --cache always --xattr --announce-submounts --log-level "
        "warn "
        "--writeback");
  CHECK(join(virtiofsd_arguments(rust, "/m/shares", share_cache::shared, 3)) ==
        "/usr/libexec/virtiofsd --fd 3 --shared-dir /m/shares --cache auto --xattr --announce-submounts --log-level "
        "warn");
}

TEST_CASE("device plan: a port each, an id once") {
  device_plan plan(2);
  const auto first = plan.take("nic", "eth0", "a");
  REQUIRE(first);
  CHECK(first->id == "nic1");
  CHECK(first->port == "rp0");
  CHECK(first->backend() == "nic1-backend");
  CHECK(plan.take("nic", "eth0", "a").error().code() == errc::conflict);
  CHECK_FALSE(plan.take("nic", "eth0", "b")->id.empty());  // another container's is another device
  CHECK_FALSE(plan.rested());
  plan.free("nic2");
  CHECK(plan.take("share", "rootfs", "a").error().code() == errc::unavailable);  // the port rests
  REQUIRE(plan.rested());
  CHECK(*plan.rested() > device_plan::clock::now() + device_plan::rest / 2);
  std::this_thread::sleep_until(*plan.rested());
  const auto second = plan.take("share", "rootfs", "a");
  REQUIRE(second);
  CHECK(second->port == "rp1");
  CHECK(plan.take("nic", "eth1", "a").error().code() == errc::unavailable);
  plan.free("nic1");
  auto same = device_plan::from_json(plan.to_json());
  CHECK_FALSE(same.find("eth0", "a"));
  CHECK(same.find("rootfs", "a")->id == "share3");
  CHECK(same.of("a").size() == 1);
  CHECK(same.of("b").empty());
  CHECK(same.fresh_number() == 4);
  CHECK_FALSE(same.take("nic", "eth0", "a"));
  std::this_thread::sleep_until(*same.rested());
  const auto third = same.take("nic", "eth0", "a");
  REQUIRE(third);
  CHECK(third->id == "nic5");
  CHECK(third->port == "rp0");
}

TEST_CASE("device plan: what is no plan") {
  for (const auto* text : {"null", "[]", R"({"ports":-3})", R"({"ports":1e9,"next":-1,"plugged":[1,{},{"id":"a"}]})"}) {
    auto plan = device_plan::from_json(nlohmann::json::parse(text));
    (void)plan.take("nic", "eth0", "a");
    CHECK(plan.to_json()["ports"] <= 32);
    CHECK(plan.to_json()["plugged"].size() <= 1);
  }
}

TEST_CASE("machine sizes") {
  const machine_size normal{256, 1};
  const auto size = [&](int64_t memory, int64_t cpus) {
    const auto s = machine_size_of(memory, cpus, normal, 4);
    return std::pair(s.memory_mib, s.cpus);
  };
  CHECK(size(0, 0) == std::pair(uint64_t{256}, 1u));
  CHECK(size(1, 0) == std::pair(uint64_t{128}, 1u));
  CHECK(size(512ll << 20, 1'500'000'000) == std::pair(uint64_t{608}, 2u));
  CHECK(size((512ll << 20) + 1, 100'000'000) == std::pair(uint64_t{609}, 1u));
  CHECK(size(0, 64'000'000'000) == std::pair(uint64_t{256}, 4u));
  CHECK(size(INT64_MAX, INT64_MAX).second == 4);
  CHECK(automatic_pool_size(64 << 10, 1) == 0);
  CHECK(automatic_pool_size(4095, 8) == 0);
  CHECK(automatic_pool_size(4096, 2) == 1);
  CHECK(automatic_pool_size(16 << 10, 2) == 2);
  CHECK(pool_size_within(3, 0, 256) == 3);
  CHECK(pool_size_within(3, 600, 256) == 2);
  CHECK(pool_size_within(3, 4096, 256) == 3);
  CHECK(pool_size_within(3, 255, 256) == 0);
}
