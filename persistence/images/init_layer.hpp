// What every container of an image has besides the image: mount points for what is mounted into all of them,
// /.dockerenv and /etc/mtab. Docker keeps them in a layer "ID-init" between image and container, so that `docker diff`
// and `docker commit` do not see them. Here one layer serves all containers of an image; it lives in the folder of the
// image's topmost layer and goes with it.
#pragma once
#include <string>
#include <vector>

#include "persistence/base/error.hpp"

namespace arca::images {

/// Layer folders for containers of the image with these (topmost first): the same with the init layer's before them.
/// Made at the first call for an image. Blocking; any thread.
result<std::vector<std::string>> with_init_layer(std::vector<std::string> layers);

}  // namespace arca::images
