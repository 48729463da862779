// The user's networks: create, remove, prune, and the list of all.
#include <nlohmann/json.hpp>

#include "actors/network/manager_impl.hpp"
#include "actors/network/network_create.hpp"
#include "actors/network/network_filters.hpp"
#include "persistence/base/log.hpp"
#include "persistence/base/text.hpp"
#include "vm/network/links.hpp"

namespace arca {

void network_manager::event(const std::string& action, const std::string& id,
                            std::map<std::string, std::string> attributes) {
  publish_event e;
  e.type = "network";
  e.action = action;
  e.actor_id = id;
  e.attributes = std::move(attributes);
  send(ctx_.events, std::move(e));
}

caf::result<json_document> network_manager::create(const create_network& request) {
  auto promise = make_response_promise<json_document>();
  offload(
      this, *ctx_.port, *ctx_.pool, [] { return net::host_subnets(""); },
      [this, request, promise](const result<std::vector<net::subnet4>>& host) mutable {
        if (host)
          create_on(request, *host, promise);
        else
          promise.deliver(to_caf(host.error()));
      });
  return promise;
}

void network_manager::create_on(const create_network& request, const std::vector<net::subnet4>& host,
                                caf::typed_response_promise<json_document> promise) {
  const auto wish = nlohmann::json::parse(request.request, nullptr, false);
  if (!wish.is_object()) {
    promise.deliver(caf_error(errc::invalid_argument, "invalid network create request"));
    return;
  }
  network_surroundings around{{}, host, ctx_.config.address_pools};
  for (const auto& [id, n] : networks_) around.known.push_back(n.record.get());
  auto planned = plan_network(wish, around);
  if (!planned) {
    promise.deliver(to_caf(planned.error()));
    return;
  }
  planned->created = now_nanos();
  row_change put;
  put.in = table::networks;
  put.key = planned->id;
  put.unique = planned->name;
  put.document = to_document(*planned);
  commit_rows commit;
  commit.changes.push_back(std::move(put));
  // await: nobody takes the name or the subnet before it is on record.
  this->request(ctx_.store, caf::infinite, std::move(commit))
      .await(
          [this, promise, record = *planned]() mutable {
            json_document answer;
            answer.text = nlohmann::ordered_json{{"Id", record.id}, {"Warning", ""}}.dump();
            event("create", record.id, {{"name", record.name}, {"type", record.driver}});
            add_network(std::move(record), {});
            promise.deliver(std::move(answer));
          },
          [promise](caf::error& e) mutable { promise.deliver(std::move(e)); });
}

result<void> network_manager::removable(const known_network& n) const {
  const auto& r = *n.record;
  if (r.builtin()) return fail(errc::forbidden, r.name + " is a pre-defined network and cannot be removed");
  if (r.config_only)
    for (const auto& [id, other] : networks_)
      if (other.record->config_from == r.name)
        return fail(errc::forbidden,
                    "error while removing network: configuration network " + go_quote(r.name) + " is in use");
  if (n.containers.empty()) return {};
  std::string users;
  for (const auto& [id, u] : n.containers)
    users +=
        (users.empty() ? "" : ", ") + ("name:" + go_quote(u.name)) + " id:" + go_quote(u.endpoint_id.substr(0, 12));
  return fail(errc::forbidden,
              "error while removing network: network " + r.name + " has active endpoints (" + users + ")");
}

caf::result<void> network_manager::remove(const remove_network& request) {
  const auto found = find(request.name);
  if (!found) return to_caf(found.error());
  if ((*found)->going) return caf_error(errc::not_found, "network " + request.name + " not found");
  if (const auto free = removable(**found); !free) return to_caf(free.error());
  auto promise = make_response_promise<void>();
  remove_known((*found)->record->id, [promise](const result<void>& gone) mutable {
    if (gone)
      deliver_ok(promise);
    else
      promise.deliver(to_caf(gone.error()));
  });
  return promise;
}

// The device first, then the row: what a crash leaves is a network without a device, and that is an ordinary one.
void network_manager::remove_known(const std::string& id, outcome then) {
  networks_.at(id).going = true;
  auto failed = [this, id, then](const error& why) {
    if (const auto at = networks_.find(id); at != networks_.end()) at->second.going = false;
    then(fail(why.wrap("error while removing network")));
  };
  auto forget = [this, id, then, failed] {
    row_change row;
    row.in = table::networks;
    row.erase = true;
    row.key = id;
    commit_rows commit;
    commit.changes.push_back(std::move(row));
    request(ctx_.store, caf::infinite, std::move(commit))
        .await(
            [this, id, then] {
              const auto at = networks_.find(id);
              const auto record = at->second.record;
              if (at->second.handle) send_exit(at->second.handle, caf::exit_reason::user_shutdown);
              ids_.erase(record->name);
              networks_.erase(at);
              event("destroy", id, {{"name", record->name}, {"type", record->driver}});
              then({});
            },
            [failed](caf::error& e) { failed(from_caf(e)); });
  };
  const auto& r = *networks_.at(id).record;
  if (r.bridge.empty() || net::link_index(r.bridge) == 0) {
    forget();
    return;
  }
  prepare({},
          [forget, failed](const result<void>& done) {
            if (done)
              forget();
            else
              failed(done.error());
          },
          {id});
}

caf::result<json_document> network_manager::prune(const prune_networks& request) {
  static constexpr std::string_view accepted[] = {"label", "label!", "until"};
  const auto filters = model::filters::parse(request.filters);
  if (!filters) return to_caf(filters.error());
  if (const auto good = filters->validate(accepted); !good) return to_caf(good.error());
  bool given = false;
  const auto until = model::until_filter(*filters, now_nanos(), given);
  if (!until) return to_caf(until.error());
  struct pruning {
    size_t open = 1;
    std::vector<std::string> names;
    caf::typed_response_promise<json_document> promise;
  };
  auto p = std::make_shared<pruning>();
  p->promise = make_response_promise<json_document>();
  auto step = [this, p] {
    if (--p->open != 0) return;
    event("prune", "", {{"reclaimed", "0"}});
    nlohmann::json d = {{"NetworksDeleted", nullptr}};
    if (!p->names.empty()) d["NetworksDeleted"] = p->names;
    json_document answer;
    answer.text = d.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    p->promise.deliver(std::move(answer));
  };
  std::vector<std::string> unused;
  for (const auto& [name, id] : ids_) {
    const auto& n = networks_.at(id);
    if (n.going || n.record->builtin() || n.record->config_only || !n.containers.empty()) continue;
    if (given && n.record->created > *until) continue;
    if (model::labels_match(*filters, n.record->labels)) unused.push_back(id);
  }
  p->open += unused.size();
  for (const auto& id : unused)
    remove_known(id, [p, step, name = networks_.at(id).record->name](const result<void>& gone) {
      if (gone)
        p->names.push_back(name);
      else
        log::warn("network not pruned", log::kv("network", name), log::kv("reason", gone.error().message()));
      step();
    });
  step();
  return p->promise;
}

caf::result<json_document> network_manager::list(const list_networks& asked) {
  auto filters = network_filters::parse(asked.filters);
  if (!filters) return to_caf(filters.error());
  json_document d;
  d.text = "[";
  for (const auto& [name, id] : ids_) {
    const auto& n = networks_.at(id);
    if (!filters->match(*n.record, !n.containers.empty())) continue;
    if (d.text.size() > 1) d.text += ',';
    d.text += network_json(*n.record, {});
  }
  d.text += ']';
  return d;
}

}  // namespace arca
