# House rules that the build enforces: compiler, warnings, sanitizers, and which folder may link which.
if(NOT CMAKE_CXX_COMPILER_ID STREQUAL "Clang" OR CMAKE_CXX_COMPILER_VERSION VERSION_LESS 16)
  message(FATAL_ERROR "Arca needs clang 16 or newer (g++ 12 miscompiles coroutines, docs/hacking.md); use tools/build")
endif()
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release)
endif()
set(CMAKE_CXX_FLAGS_RELEASE "-O2 -DNDEBUG")
set(CMAKE_CXX_FLAGS_DEBUG "-O0")

find_program(CCACHE ccache)
if(CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE})
endif()
add_compile_options(-pthread)
add_link_options(-fuse-ld=lld)
# For programs that are small rather than quick.
set(ARCA_SMALL -ffunction-sections -fdata-sections $<$<CONFIG:Release>:-Os>)

set(ARCA_SANITIZE "" CACHE STRING "empty, address or thread")
if(ARCA_SANITIZE STREQUAL "address")
  # CAF's init_fun_factory binds a null reference: vptr and null checks would stop in its headers.
  add_compile_options(-fsanitize=address,undefined -fno-sanitize=null,vptr -fno-sanitize-recover=undefined
                      -fno-omit-frame-pointer -gline-tables-only)
  add_link_options(-fsanitize=address,undefined)
elseif(ARCA_SANITIZE STREQUAL "thread")
  add_compile_options(-fsanitize=thread -fno-omit-frame-pointer -gline-tables-only)
  add_link_options(-fsanitize=thread)
endif()
if(ARCA_FUZZ)  # everything: precompiled headers are shared only by what is instrumented in the same way
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()
if(ARCA_SANITIZE)  # not for cross-compiling: what CMake puts before each test program
  set(CMAKE_CROSSCOMPILING_EMULATOR ${CMAKE_SOURCE_DIR}/tests/lib/sanitized)
endif()

add_library(arca_warnings INTERFACE)
target_compile_options(arca_warnings INTERFACE -Wall -Wextra -Werror -Wshadow -Wnon-virtual-dtor)

# arca_library(NAME LAYER n SOURCES ... LINK ... ): a static library of one folder. Layers: base 0, archive/store/
# registry/images 1, guest proto 2, vm 3, actors 4, http 5. Linking a library of a higher layer is a configure error
# (arca_check_layers, at the end: here the others need not be known yet).
function(arca_library name)
  cmake_parse_arguments(A "" "LAYER" "SOURCES;LINK" ${ARGN})
  add_library(${name} STATIC ${A_SOURCES})
  target_include_directories(${name} PUBLIC ${CMAKE_SOURCE_DIR})
  set_target_properties(${name} PROPERTIES ARCA_LAYER ${A_LAYER})
  set_property(GLOBAL APPEND PROPERTY ARCA_LIBRARIES ${name})
  target_link_libraries(${name} PUBLIC ${A_LINK} PRIVATE arca_warnings)
endfunction()

function(arca_check_layers)
  get_property(libraries GLOBAL PROPERTY ARCA_LIBRARIES)
  foreach(name ${libraries})
    get_target_property(layer ${name} ARCA_LAYER)
    get_target_property(links ${name} LINK_LIBRARIES)
    foreach(dep ${links})
      if(TARGET ${dep})
        get_target_property(dep_layer ${dep} ARCA_LAYER)
        if(dep_layer GREATER layer)
          message(FATAL_ERROR "${name} (layer ${layer}) must not link ${dep} (layer ${dep_layer}): docs/architecture.md")
        endif()
      endif()
    endforeach()
  endforeach()
endfunction()

# arca_unit_test(NAME SOURCES ... LINK ...): one Catch2 program whose cases ctest lists one by one, labelled unit.
function(arca_unit_test name)
  cmake_parse_arguments(A "" "" "SOURCES;LINK" ${ARGN})
  add_executable(${name} ${A_SOURCES})
  target_link_libraries(${name} PRIVATE ${A_LINK} Catch2::Catch2WithMain arca_warnings)
  catch_discover_tests(${name} TEST_PREFIX "${name}: " PROPERTIES LABELS unit TIMEOUT 600)
endfunction()

# arca_fuzzer(NAME LIBRARY lib CORPUS folder MAX_LEN n): one libFuzzer program (NAME.cpp) over a library of ours; only in the
# asan preset, where everything is instrumented for it. ctest label fuzz; seeds in tests/fuzz/corpus/CORPUS; what it finds goes to
# the build folder. Target `fuzzers` builds all of them.
function(arca_fuzzer name)
  if(NOT ARCA_FUZZ)
    return()
  endif()
  cmake_parse_arguments(A "" "LIBRARY;CORPUS;MAX_LEN" "" ${ARGN})
  if(NOT TARGET fuzzers)
    add_custom_target(fuzzers)
  endif()
  add_executable(${name} ${name}.cpp)
  target_link_libraries(${name} PRIVATE ${A_LIBRARY} arca_warnings)
  target_link_options(${name} PRIVATE -fsanitize=fuzzer)
  add_dependencies(fuzzers ${name})
  add_test(NAME ${name} COMMAND sh -c
    "mkdir -p found/${A_CORPUS} && exec $<TARGET_FILE:${name}> -max_total_time=\${ARCA_FUZZ_SECONDS:-30} -timeout=10 -max_len=${A_MAX_LEN} -print_final_stats=1 found/${A_CORPUS} ${CMAKE_SOURCE_DIR}/tests/fuzz/corpus/${A_CORPUS}")
  set_tests_properties(${name} PROPERTIES LABELS fuzz TIMEOUT 900)
endfunction()
