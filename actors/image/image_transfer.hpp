// The blocking parts of load, import and save: run on the pool, streams in and out.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "actors/image/progress.hpp"
#include "actors/streams/byte_channel.hpp"
#include "persistence/images/image_archive.hpp"

namespace arca {

/// The bytes of a client as a source; a broken client is an error, not an end.
archive::byte_source source_of_channel(std::shared_ptr<byte_channel> input);

/// The bytes behind an http or https URL (import from a URL). Errors in Docker's words: Get "URL": dial tcp …
result<archive::byte_source> source_of_url(const std::string& address);

/// Reads an archive to its end; "Loading layer" lines go to `output` unless it is null.
result<std::vector<images::loaded_image>> load_archive(images::layer_store& layers, std::shared_ptr<byte_channel> input,
                                                       const images::platform& wanted,
                                                       std::shared_ptr<progress_output> output);

/// Writes the archive to the client and closes its stream, with the error if there is one.
void save_archive(const images::layer_store& layers, const std::vector<images::saved_image>& what,
                  std::shared_ptr<byte_channel> output);

}  // namespace arca
