// The layers of one image: several at a time from the registry into the layer store.
#pragma once
#include <memory>
#include <vector>

#include "actors/image/progress.hpp"
#include "persistence/images/layer_store.hpp"
#include "persistence/registry/client.hpp"

namespace arca {

struct wanted_layer {
  registry::descriptor blob;
  std::string diff_id, chain_id;
};

/// Fetches what is not in the store. The first failure stops the others (through `stop`) and is the answer.
registry::outcome<void> fetch_layers(registry::repository& from, images::layer_store& into,
                                     const std::vector<wanted_layer>& layers, progress_output& output,
                                     registry::stop_signal& stop);

}  // namespace arca
