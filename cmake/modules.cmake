# One directory is one module: its *.cc become the library us_<name>, its *_test.cc the test program
# <name>_test.  Dependencies are named, and point one way: cli > host > {qemu, os} > core > base.

add_custom_target(unit_tests)  # builds every test program of a module

# Test code is run once and compiled often: half the optimization is a third of the build's time.  What it tests keeps its own.
function(us_test_program target)
  if(US_SANITIZE)
    target_compile_options(${target} PRIVATE -O0)
    # Those that run long, instrumented, are worth compiling better.
    set_source_files_properties(core/tcp/relay_restore_test.cc core/tcp/sender_link_test.cc core/tcp/flow_hostile_test.cc
                                PROPERTIES COMPILE_OPTIONS -O1)
  else()
    target_compile_options(${target} PRIVATE -O1 -g1)
  endif()
endfunction()

function(us_module name)
  cmake_parse_arguments(ARG "" "DIR" "DEPENDS;TEST_DEPENDS" ${ARGN})
  if(NOT ARG_DIR)
    set(ARG_DIR ${name})
  endif()
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${ARG_DIR}/*.cc)
  set(tests ${sources})
  list(FILTER sources EXCLUDE REGEX "_test\\.cc$")
  list(FILTER tests INCLUDE REGEX "_test\\.cc$")
  if(sources)
    add_library(us_${name} STATIC ${sources})
    set(visibility PUBLIC)
  else()
    add_library(us_${name} INTERFACE)
    set(visibility INTERFACE)
  endif()
  target_include_directories(us_${name} ${visibility} ${PROJECT_SOURCE_DIR}/src)
  target_link_libraries(us_${name} ${visibility} ${ARG_DEPENDS})
  if(tests)
    add_executable(${name}_test ${tests})
    target_link_libraries(${name}_test PRIVATE us_${name} ${ARG_TEST_DEPENDS} GTest::gmock GTest::gtest_main)
    target_compile_definitions(${name}_test PRIVATE US_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
    us_test_program(${name}_test)
    add_test(NAME ${name} COMMAND ${name}_test)
    add_dependencies(unit_tests ${name}_test)
  endif()
endfunction()
