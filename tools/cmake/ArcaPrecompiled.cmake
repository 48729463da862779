# Headers of other people's that most files read are parsed once. Only headers of packages stand here: one of ours would make a
# change to it a change to everything. Every source still includes what it uses, and builds without this file.
#
# dpkg gives the headers of a newer package times before that of a build, so nobody sees that they are new, and clang refuses precompiled
# headers whose sources have changed: their versions are a header too, and make everything anew when they change.
execute_process(COMMAND dpkg-query -W -f "// \${Package} \${Version}\n" "*-dev" catch2 clang-16 OUTPUT_VARIABLE versions ERROR_QUIET)
file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/package_versions.hpp CONTENT "${versions}" @ONLY)
set(precompiled_base ${CMAKE_BINARY_DIR}/package_versions.hpp
  <algorithm> <array> <atomic> <charconv> <chrono> <condition_variable> <csignal> <cstdint> <deque> <filesystem> <functional>
  <future> <map> <memory> <mutex> <optional> <set> <span> <string> <string_view> <thread> <unordered_map> <variant> <vector>
  <nlohmann/json.hpp> <tl/expected.hpp>)
set(precompiled_actors ${precompiled_base} <caf/all.hpp> <boost/asio/io_context.hpp> <boost/asio/post.hpp>)
set(precompiled_empty ${CMAKE_BINARY_DIR}/precompiled.cpp)
file(GENERATE OUTPUT ${precompiled_empty} CONTENT "")

# One set of precompiled headers: an object library that others reuse. Its flags have to be theirs.
function(arca_precompiled name)
  add_library(arca_precompiled_${name} OBJECT EXCLUDE_FROM_ALL ${precompiled_empty})
  target_precompile_headers(arca_precompiled_${name} PRIVATE ${ARGN})
  # Without it the same headers give another file each time, and a cache of objects finds nothing again.
  target_compile_options(arca_precompiled_${name} PRIVATE "SHELL:-Xclang -fno-pch-timestamp")
endfunction()
arca_precompiled(base ${precompiled_base})
arca_precompiled(small ${precompiled_base})  # the agent's: optimised for size
target_compile_options(arca_precompiled_small PRIVATE ${ARCA_SMALL})
arca_precompiled(base_tests ${precompiled_base} <catch2/catch.hpp>)
arca_precompiled(actors ${precompiled_actors})
arca_precompiled(actors_tests ${precompiled_actors} <catch2/catch.hpp>)
foreach(set actors actors_tests)
  target_link_libraries(arca_precompiled_${set} PRIVATE CAF::core Boost::headers)
endforeach()

# Gives each program and library of a folder and those below it the set that its property ARCA_PRECOMPILED names (none:
# without), or the one that suits what it links.
function(arca_use_precompiled folder)
  get_property(children DIRECTORY ${folder} PROPERTY SUBDIRECTORIES)
  foreach(child ${children})
    arca_use_precompiled(${child})
  endforeach()
  get_property(targets DIRECTORY ${folder} PROPERTY BUILDSYSTEM_TARGETS)
  foreach(target ${targets})
    get_target_property(kind ${target} TYPE)
    get_target_property(named ${target} ARCA_PRECOMPILED)
    if(NOT kind MATCHES "STATIC_LIBRARY|EXECUTABLE" OR named STREQUAL "none")
      continue()
    elseif(named)
      target_precompile_headers(${target} REUSE_FROM arca_precompiled_${named})
      continue()
    endif()
    get_target_property(links ${target} LINK_LIBRARIES)
    get_target_property(layer ${target} ARCA_LAYER)
    set(set base)
    foreach(lib ${links})
      if(TARGET ${lib})
        get_target_property(lib_layer ${lib} ARCA_LAYER)
        if(lib_layer GREATER_EQUAL 4)
          set(set actors)
        endif()
      endif()
    endforeach()
    if(layer GREATER_EQUAL 4)
      set(set actors)
    endif()
    if("Catch2::Catch2WithMain" IN_LIST links)
      string(APPEND set _tests)
    endif()
    target_precompile_headers(${target} REUSE_FROM arca_precompiled_${set})
  endforeach()
endfunction()
