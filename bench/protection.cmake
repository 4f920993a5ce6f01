# What protection costs, what a takeover consists of, and COLO beside both: all need root and the guest.
us_module(bench_takeover DIR takeover DEPENDS us_demo us_host us_bench_common)
add_executable(takeover_bench takeover_bench.cc)
target_link_libraries(takeover_bench PRIVATE us_bench_takeover)
target_compile_definitions(takeover_bench PRIVATE US_PROGRAM="$<TARGET_FILE:understudy>"
                                                  US_GUEST_DIR="${PROJECT_BINARY_DIR}/guest")

add_executable(colo_bench colo_bench.cc colo/colo_pair.cc)
target_link_libraries(colo_bench PRIVATE us_bench_takeover us_bench_tcp)
target_compile_definitions(colo_bench PRIVATE US_PROGRAM="$<TARGET_FILE:understudy>"
                                              US_GUEST_DIR="${PROJECT_BINARY_DIR}/guest"
                                              US_SOURCE_DIR="${PROJECT_SOURCE_DIR}"
                                              US_BINARY_DIR="${PROJECT_BINARY_DIR}")

us_module(bench_price DIR price DEPENDS us_demo us_host us_bench_common)
add_executable(price_bench price_bench.cc)
target_link_libraries(price_bench PRIVATE us_bench_price us_bench_tcp)
target_compile_definitions(price_bench PRIVATE US_PROGRAM="$<TARGET_FILE:understudy>"
                                               US_GUEST_DIR="${PROJECT_BINARY_DIR}/guest")
