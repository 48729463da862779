// Test help: an engine that is made of this folder's functions only. It keeps records, follows the requests of a golden
// transcript and answers create, inspect, list, update and exec; state that a process would bring is taken over from
// the expected answer, so that what is compared is the shape.
#pragma once
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "actors/model/container_record.hpp"
#include "actors/model/template_match.hpp"
#include "persistence/base/text.hpp"

namespace arca::model::golden {

struct outcome {
  bool known = false;  ///< false: this request is not the model's business
  int status = 0;
  json body;
};

class engine {
 public:
  engine();
  outcome answer(const json& request, const json& expected);
  variables& known() { return variables_; }

 private:
  outcome create(const json& request, int minor, const json& expected);
  outcome inspect(const std::string& name, int minor, const json& expected);
  outcome list(const json& request, int minor);
  outcome prune(const json& request);
  outcome system(const std::string& what, const std::string& version, const json& expected);
  outcome update(const std::string& name, const json& request, int minor);
  outcome make_exec(const std::string& name, const json& request, int minor);
  std::shared_ptr<container_record> find(const std::string& name) const;
  void follow(const std::string& name, const std::string& what, const json& expected);

  variables variables_;
  std::map<std::string, json> image_configs_;
  std::map<std::string, std::string> image_ids_;
  std::vector<std::shared_ptr<container_record>> records_;
  int64_t clock_ = now_nanos() / 1'000'000'000 * 1'000'000'000;
};

}  // namespace arca::model::golden
