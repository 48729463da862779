// Create: image leased, configuration merged, volumes acquired, files renamed into place, one transaction for the row,
// then the answer (flows.md "Order of truth"). Whatever fails undoes what came before and the container never existed.
#include <algorithm>

#include "actors/container/container.hpp"
#include "actors/container/files.hpp"
#include "actors/model/create.hpp"
#include "actors/model/mounts.hpp"
#include "actors/model/networks.hpp"
#include "actors/model/validate_vm.hpp"
#include "persistence/base/fs.hpp"
#include "persistence/base/log.hpp"
#include "vm/qemu/vm_status.hpp"

namespace arca {

caf::result<created_container> container::create(const create_container& request) {
  auto promise = make_response_promise<created_container>();
  create_finished_ = [promise](const result<created_container>& r) mutable {
    if (r)
      promise.deliver(*r);
    else
      promise.deliver(to_caf(r.error()));
  };
  create_body_ = nlohmann::json::parse(request.body, nullptr, false);
  if (!create_body_.is_object()) {
    create_failed({errc::invalid_argument, "invalid create request"});
    return promise;
  }
  wanted_name_ = request.name;
  record_.image_ref = create_body_["Config"].value("Image", "");
  if (record_.image_ref.empty()) {
    create_with_image({});
    return promise;
  }
  resolve_image resolve;
  resolve.reference = record_.image_ref;
  resolve.platform = request.platform;
  resolve.lease_owner = record_.id;
  this->request(s_.ctx.images, caf::infinite, std::move(resolve))
      .then([this](const resolved_image& image) { create_with_image(image); },
            [this](caf::error& e) { create_failed(from_caf(e)); });
  return promise;
}

/// Docker checks the name only after it has found the image.
void container::create_with_image(const resolved_image& image) {
  record_.image_id = image.id;
  record_.layers = image.layers;
  if (!image.os.empty()) record_.os = image.os;
  const auto image_config =
      image.config.empty() ? nlohmann::json() : nlohmann::json::parse(image.config, nullptr, false);
  const auto find_container = [this](const std::string& name) -> result<std::string> {
    ARCA_TRY(found, s_.directory.get()->find(name));
    return found.record->id;
  };
  if (auto complete = model::complete_create(create_body_, image_config, record_.id, {}, find_container); !complete) {
    create_failed(complete.error());
    return;
  }
  if (!wanted_name_.empty()) {
    auto name = model::check_container_name(wanted_name_);
    if (!name) {
      create_failed(name.error());
      return;
    }
    wanted_name_ = *name;
  }
  reserve_name reserve;
  reserve.id = record_.id;
  reserve.name = wanted_name_;
  request(manager_, caf::infinite, std::move(reserve))
      .then([this](const std::string& name) { create_named(name); },
            [this](caf::error& e) { create_failed(from_caf(e)); });
}

void container::create_named(const std::string& name) {
  record_.name = name;
  record_.config = std::move(create_body_["Config"]);
  record_.host_config = std::move(create_body_["HostConfig"]);
  const auto networking = create_body_.value("NetworkingConfig", nlohmann::json::object());
  record_.networking =
      networking.is_object() ? networking.value("EndpointsConfig", nlohmann::json::object()) : networking;
  if (!record_.networking.is_object()) record_.networking = nlohmann::json::object();
  if (const auto warnings = create_body_.find("Warnings"); warnings != create_body_.end() && warnings->is_array())
    for (const auto& w : *warnings)
      if (w.is_string()) create_warnings_.push_back(w.get<std::string>());
  create_body_ = nullptr;
  if (auto possible = model::check_network_count(record_.host_config, record_.networking); !possible) {
    create_failed(possible.error());
    return;
  }
  const auto runtime = record_.host_config.value("Runtime", std::string());
  const bool named = runtime == "vm" || runtime == "namespace";
  record_.runtime = named ? runtime : vm::default_machine(s_.ctx.config.default_runtime, s_.ctx.vms->get()).kind;
  auto plan = model::plan_mounts(record_.config, record_.host_config,
                                 [this](const std::string& source) -> result<std::vector<model::mount_point>> {
                                   ARCA_TRY(found, s_.directory.get()->find(source));
                                   return found.record->mounts;
                                 });
  if (!plan) {
    create_failed(plan.error());
    return;
  }
  plan_ = std::move(*plan);
  if (std::any_of(plan_.begin(), plan_.end(), [](const auto& mount) { return mount.point.type == "image"; })) {
    create_failed({errc::unsupported, "mounts of type \"image\" are not supported"});
    return;
  }
  const auto all = s_.directory.get();
  if (auto chosen = choose_machine_beside(*all); !chosen) {
    create_failed(chosen.error());
    return;
  }
  if (auto possible = record_.runtime == "vm" ? fits_in_vm() : result<void>(); !possible) {
    if (named || s_.ctx.config.default_runtime == "vm") {
      create_failed(possible.error());
      return;
    }
    record_.runtime = "namespace";  // nobody has asked for a virtual machine
  }
  const auto dir = container_dir();
  record_.log_path = dir + "/" + record_.id + "-json.log";
  record_.hosts_path = dir + "/hosts";
  record_.hostname_path = dir + "/hostname";
  record_.resolv_path = dir + "/resolv.conf";
  acquire_volumes(0);
}

result<void> container::fits_in_vm() const {
  ARCA_CHECK(model::fits_in_vm(record_.host_config));
  std::vector<std::string> propagations;
  for (const auto& mount : plan_) propagations.push_back(mount.point.propagation);
  for (const auto& mount : record_.mounts) propagations.push_back(mount.propagation);
  for (const auto& how : propagations)
    if (how.ends_with("shared") || how.ends_with("slave")) return model::refuse_in_vm("mount propagation " + how);
  return {};
}

void container::acquire_volumes(size_t next) {
  while (next < plan_.size() && plan_[next].point.type != "volume") ++next;
  if (next == plan_.size()) {
    for (const auto& m : plan_)
      if (model::shown_in_mounts(m)) record_.mounts.push_back(m.point);
    make_files();
    return;
  }
  acquire_volume acquire;
  acquire.name = plan_[next].point.name;
  acquire.driver = plan_[next].driver;
  acquire.container_id = record_.id;
  acquire.labels = plan_[next].volume_labels;
  acquire.options = plan_[next].volume_options;
  acquire.anonymous = plan_[next].anonymous;
  request(s_.ctx.volumes, caf::infinite, std::move(acquire))
      .then(
          [this, next](const acquired_volume& v) {
            auto& m = plan_[next].point;
            m.name = v.name;
            m.driver = v.driver;
            m.source = v.mountpoint;
            acquire_volumes(next + 1);
          },
          [this](caf::error& e) { create_failed(from_caf(e)); });
}

void container::make_files() {
  offload(
      this, *s_.ctx.port, *s_.ctx.pool,
      [record = record_, plan = plan_, dir = container_dir()] { return make_container_files(record, plan, dir); },
      [this](const result<std::vector<std::string>>& layers) { create_done(layers); });
}

void container::create_done(const result<std::vector<std::string>>& layers) {
  if (!layers) {
    create_failed(layers.error());
    return;
  }
  record_.layers = *layers;
  make_io();
  save([this](const caf::error& e) {
    if (e) {
      create_failed(from_caf(e));
      return;
    }
    event("create");
    created_container answer;
    answer.id = record_.id;
    answer.warnings = create_warnings_;
    auto finished = std::exchange(create_finished_, nullptr);
    finished(std::move(answer));
  });
}

void container::create_failed(const error& why) {
  auto finished = std::exchange(create_finished_, nullptr);
  release_image image;
  image.lease_owner = record_.id;
  request(s_.ctx.images, caf::infinite, std::move(image))
      .then([] {}, [](caf::error&) { /* leases are checked at start */ });
  release_volumes volumes;
  volumes.container_id = record_.id;
  volumes.remove_anonymous = true;
  request(s_.ctx.volumes, caf::infinite, std::move(volumes)).then([] {}, [](caf::error&) { /* the same */ });
  offload(
      this, *s_.ctx.port, *s_.ctx.pool, [dir = container_dir()] { return fs::remove_tree(dir); },
      [this, why, finished](const result<void>&) {
        withdraw_container w;
        w.id = record_.id;
        auto end = [this, why, finished] {
          finished(fail(why));
          quit();
        };
        request(manager_, caf::infinite, std::move(w)).then([end] { end(); }, [end](caf::error&) { end(); });
      });
}

}  // namespace arca
