#!/bin/bash
# One entry for every chore of this repository; `./do help` lists them.
set -euo pipefail
cd "$(dirname "$0")"

build=${US_BUILD:-build}                 # the normal build
build_asan=${US_BUILD_ASAN:-build-asan}  # unit tests under AddressSanitizer and UndefinedBehaviorSanitizer
build_fuzz=${US_BUILD_FUZZ:-build-fuzz}  # libFuzzer targets
guest=$build/guest
disk_guest=$build/guest-debian

help() {
  cat <<'END'
Usage: ./do CHORE [arguments]        (Debian 12; as root where packages or namespaces are involved)

  setup             install the Debian packages of packages.txt that are missing
  build [TARGETS]   build everything, or the named targets, in build/
  guest             build the guest of the demo and the tests in build/guest/, and its disk in build/guest-debian/
  demo [OPTIONS]    setup, build, guest, then the demo; options go to `understudy demo`
  test [--long]     setup, build, guest, then every test; --long adds long runs and fuzzing
  unit [REGEX]      unit tests only (those whose name matches)
  e2e [FILTER]      end-to-end tests only (GoogleTest filter)
  test-kvm [--here] the KVM path: nested in emulated machines (Linux 6.12 and 6.1), or on this one's own KVM
  sanitize          unit tests under AddressSanitizer and UndefinedBehaviorSanitizer
  sim [ARGUMENTS]   the simulation of two hosts; --relay: of the TCP relay; --scale: of fast lines and many guests
  fuzz [SECONDS]    every fuzz target, each for so long (default 60)
  bench [SCENARIO]  the evaluation: data, plots, report; --quick, --list. `bench micro [NAME]`: micro-benchmarks
  format            format all sources
  lint              check format, shell scripts and the rules on dependencies
  clean             remove everything that was built

Examples:
  ./do demo                              two hosts die, one after the other
  ./do demo --rounds 20 --seed 7         twenty in a row, repeatable
  ./do demo --cut-network --json out.json
  ./do test
  ./do e2e 'E2e.*Panic*'
  ./do bench --quick                     the evaluation in five minutes
  ./do bench takeover wide-area          two of its scenarios
  ./do bench micro relay
  ./do fuzz 600
END
}

say() { printf '\n== %s\n' "$*"; }

die() {
  echo "./do: $*" >&2
  exit 1
}

# --- setup -----------------------------------------------------------------------------------------------------------

packages() { grep -v '^#' packages.txt | grep .; }

missing_packages() {
  local installed
  installed=$(dpkg-query -W -f '${db:Status-Abbrev} ${Package}\n' | sed -n 's/^ii  *//p' | sort -u)
  comm -23 <(packages | sort -u) <(echo "$installed")
}

setup() {
  local missing
  command -v apt-get dpkg-query >/dev/null || die "this is not Debian: install what packages.txt names by other means"
  missing=$(missing_packages)
  [ -n "$missing" ] || return 0
  say "installing: $(echo "$missing" | xargs)"
  [ "$(id -u)" = 0 ] || die "packages are missing and only root can install them; run './do setup' as root"
  export DEBIAN_FRONTEND=noninteractive
  apt-get -qq update || die "apt-get update failed; is a Debian mirror reachable?"
  # shellcheck disable=SC2086  # one word each
  quietly apt-get -qq install --yes --no-install-recommends $missing </dev/null ||
    die "some packages could not be installed; see the messages above"
}

# Runs a command and shows what it printed only when it fails.
quietly() {
  local output status=0
  output=$("$@" 2>&1) || status=$?
  [ "$status" = 0 ] || echo "$output" >&2
  return "$status"
}

# --- build -----------------------------------------------------------------------------------------------------------

# build_in DIRECTORY "CMAKE ARGUMENTS" [TARGETS]
build_in() {
  local directory=$1 arguments=$2
  shift 2
  # shellcheck disable=SC2086  # several arguments
  quietly cmake -S . -B "$directory" -G Ninja $arguments || die "cmake failed"
  ninja -C "$directory" "$@" || die "the build failed"
}

build() { build_in "$build" "" "$@"; }

build_guest() {
  # Package lists may be older than the mirror, and the mirror keeps only the newest versions.
  guest/build "$guest" && return
  [ "$(id -u)" = 0 ] || die "the guest could not be built"
  say "the guest could not be built; once more with fresh package lists"
  apt-get -qq update || die "apt-get update failed; is a Debian mirror reachable?"
  guest/build "$guest" || die "the guest could not be built"
}

build_guests() {
  build_guest
  [ "$(id -u)" = 0 ] || {
    echo "guest: its disk is left out, for only root can build that"
    return
  }
  guest/build-debian "$guest" "$disk_guest" || die "the guest's disk could not be built"
}

# The guests wait for the network most of the time, so they are built beside the rest.
prepare() {
  local guests
  setup
  say "building, with the guests beside (their messages follow)"
  mkdir -p "$build"
  (build_guests) >"$build/guests.log" 2>&1 &
  guests=$!
  build "$@"
  wait "$guests" || {
    cat "$build/guests.log" >&2
    exit 1
  }
  cat "$build/guests.log"
}

# --- test ------------------------------------------------------------------------------------------------------------

passed=0
failed=0
failures=()

# Adds what ctest left in DIRECTORY to the totals.  A GoogleTest program counts by its cases; anything else, and a
# program that crashes or hangs, counts as one.
count_ctest() {
  local counts
  counts=$(awk '
    /^\[  PASSED  \] [0-9]+ tests?\.$/ { good += $4 }
    /^\[  FAILED  \] [0-9]+ tests?, listed below:$/ { bad += $4 }
    /^Test Passed\.$/ { passed += good > 0 ? good : 1; good = bad = 0 }
    /^Test (Failed|Timeout)/ { passed += good; failed += bad > 0 ? bad : 1; good = bad = 0 }
    END { print passed + 0, failed + 0 }' "$1/Testing/Temporary/LastTest.log")
  passed=$((passed + ${counts% *}))
  failed=$((failed + ${counts#* }))
}

# step NAME COMMAND...: one line at the end says what came of it.
step() {
  local name=$1 begin=$SECONDS before_passed=$passed before_failed=$failed status=0
  shift
  say "$name"
  "$@" || status=$?
  if [ "$status" != 0 ] && [ "$failed" = "$before_failed" ]; then failed=$((failed + 1)); fi
  if [ "$status" = 0 ] && [ "$passed" = "$before_passed" ]; then passed=$((passed + 1)); fi
  [ "$status" = 0 ] || failures+=("$name")
  echo "== $name: $((passed - before_passed)) passed, $((failed - before_failed)) failed ($((SECONDS - begin)) s)"
}

run_ctest() {
  local directory=$1 status=0
  shift
  ctest --test-dir "$directory" --output-on-failure --no-tests=error "$@" || status=$?
  count_ctest "$directory"
  return "$status"
}

unit() { run_ctest "$build" -LE e2e -j "$(nproc)" "$@"; }
e2e() { run_ctest "$build" -L e2e; }

# test_kvm                    both kernels, each in an emulated machine, which needs no KVM itself
# test_kvm KERNEL [FILTER]    one of them
# test_kvm --here [FILTER]    all on this machine's own KVM
test_kvm() {
  case ${1:-} in
    --here) "$build/test/kvm/kvm_test" --gtest_filter="${2:-*}" ;;
    "")
      local status=0
      test_kvm 6.12 || status=1
      test_kvm 6.1 || status=1
      return "$status"
      ;;
    *) test_kvm_nested "$@" ;;
  esac
}

# In the outer machine: first the dirty tracker's tests, then what FILTER says.
test_kvm_nested() {
  local kernel=$1 status=0
  test/kvm/build "$build" "$kernel" || return
  local result=$build/kvm/$kernel/result
  test/kvm/run "$build" "$kernel" "${2:-*}" >"$result" || status=$?
  if [ "$status" = 0 ]; then grep -aE '^(Linux|test/kvm|\[       OK).*' "$result"; else cat "$result"; fi
  passed=$((passed + $(grep -ac '\[       OK \]' "$result")))
  failed=$((failed + $(grep -ac '^\[  FAILED  \].* ms)$' "$result")))
  return "$status"
}

# The cores and what reads untrusted input: where a wrong byte would matter, and what builds in a few minutes.
sanitized='^(base|core_.*|config)$'
build_sanitized() {
  build_in "$build_asan" "-DUS_SANITIZE=ON -DCMAKE_CXX_COMPILER=clang++ -DCMAKE_BUILD_TYPE=None -DCMAKE_CXX_FLAGS=-O1" \
    base_test config_test core_epoch_test core_memory_test core_net_test core_replica_test core_tcp_test core_virtio_test \
    core_disk_test core_nbd_test
}
# Compiles on what the tests leave of the processors (sched(7), SCHED_IDLE); `sanitize` does what is left of it.
sanitizers=
begin_sanitizers() {
  setsid chrt --idle 0 "$0" build-sanitized >"$build/sanitizers.log" 2>&1 &
  sanitizers=$!
}
end_sanitizers() {
  [ -z "$sanitizers" ] || kill -- "-$sanitizers" 2>/dev/null || true
  [ -z "$sanitizers" ] || wait "$sanitizers" || true
  sanitizers=
}
sanitize() {
  end_sanitizers
  build_sanitized
  run_ctest "$build_asan" -R "$sanitized" -j "$(nproc)"
}

sim() {
  if [ "${1:-}" = --scale ]; then
    shift
    "$build/sim/understudy_scale" "$@"
  else
    "$build/sim/understudy_sim" "$@"
  fi
}

# Clang with libFuzzer.  Each target starts from test/golden/NAME, if there is one, and keeps its corpus in the build directory.
fuzz() {
  local seconds=${1:-60} target name status=0
  build_in "$build_fuzz" "-DUS_FUZZ=ON -DUS_SANITIZE=ON -DCMAKE_CXX_COMPILER=clang++" fuzz_targets
  for target in "$build_fuzz"/fuzz/*_fuzz; do
    name=$(basename "$target" _fuzz)
    mkdir -p "$build_fuzz/corpus/$name"
    # shellcheck disable=SC2046  # nothing or one word
    if "$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
      -artifact_prefix="$build_fuzz/$name-" "$build_fuzz/corpus/$name" $(seeds "$name") >"$build_fuzz/$name.log" 2>&1; then
      echo "fuzz target $name: $seconds s, $(sed -n 's/^stat::number_of_executed_units: *//p' "$build_fuzz/$name.log") inputs, no fault"
      passed=$((passed + 1))
    else
      tail -n 40 "$build_fuzz/$name.log" >&2
      echo "./do: fuzz target $name failed; the input is in $build_fuzz/$name-*" >&2
      failed=$((failed + 1))
      status=1
    fi
  done
  return "$status"
}

seeds() { [ ! -d "test/golden/$1" ] || echo "test/golden/$1"; }

# What `./do test` runs, in the order in which a failure is cheapest to find.
test_all() {
  local fuzz_seconds=300
  if [ "${1:-}" = --long ]; then
    export US_E2E_LONG=1
  fi
  trap totals EXIT
  prepare
  step "unit tests" unit
  begin_sanitizers
  step "end-to-end tests" e2e
  # Lives of guests are left to `./do test-kvm`: on 6.12 the outer machine itself was seen to stand still (docs/kvm.md).
  step "KVM, nested: Linux 6.12" test_kvm 6.12 '*Doctor*'
  step "KVM, nested: Linux 6.1" test_kvm 6.1 '*Doctor*'
  step "unit tests with sanitizers" sanitize
  if [ "${1:-}" = --long ]; then step "fuzzing" fuzz "$fuzz_seconds"; fi
  complete=1
}

# The last words of `./do test`, also when it ends early.
totals() {
  local status=$?
  end_sanitizers
  [ "${complete:-0}" = 1 ] || {
    failures+=("the run ended early")
    failed=$((failed + 1))
  }
  printf '\n'
  for name in ${failures[@]+"${failures[@]}"}; do echo "failed: $name"; done
  echo "in $((SECONDS / 60)) min $((SECONDS % 60)) s: $passed passed, $failed failed"
  [ "$failed" = 0 ] || status=1
  exit "$status"
}

# --- the rest --------------------------------------------------------------------------------------------------------

demo() {
  prepare understudy
  say "understudy demo $*"
  exec "$build/src/understudy" demo --guest "$guest" "$@"
}

# What the evaluation needs; the tests, which take longer to compile, are left out.
bench_targets() { ninja -C "$build" -t targets all | sed -nE 's,^(bench/[a-z_]*_bench|sim/understudy_scale): .*,\1,p'; }

bench() {
  setup
  quietly cmake -S . -B "$build" -G Ninja || die "cmake failed"
  # shellcheck disable=SC2046  # one word each
  build_in "$build" "" understudy $(bench_targets)
  if [ "${1:-}" = micro ]; then
    shift
    micro_bench "$@"
  else
    case " $* " in *" disk "*) build_guests ;; *) build_guest ;; esac
    exec /usr/bin/python3 -B bench/evaluation/bench.py --build "$build" "$@"
  fi
}

micro_bench() {
  [ -n "${1:-}" ] || {
    echo "micro-benchmarks, and the programs of the evaluation one by one:"
    find "$build/bench" -maxdepth 1 -type f -executable -name '*_bench' -printf '  %f\n' | sed 's/_bench$//' | sort
    return
  }
  local name=$1
  shift
  [ -x "$build/bench/${name}_bench" ] || die "there is no benchmark called '$name'; './do bench micro' lists them"
  [ "$name" != disk ] || build_guests
  case $name in tcp | takeover | price | colo | sequence) build_guest ;; esac
  "$build/bench/${name}_bench" "$@"
}

sources() { find bench fuzz guest probes sim src test -name '*.cc' -o -name '*.h'; }

format() { sources | xargs clang-format -i; }

# The rules that a compiler does not check.
lint() {
  local status=0 found
  sources | xargs clang-format --dry-run -Werror || status=1
  for script in ./do .ci/run guest/build guest/build-debian guest/init guest/announce guest/power-button bench/colo/fetch guest/debian/{start,stop,postgres} test/kvm/{build,run,init,mend-emulator}; do bash -n "$script" || status=1; done
  found=$(grep -nE '#include <(sys/|unistd|thread|mutex|random|fcntl|poll|chrono|fstream|iostream|filesystem)' -r src/core --include='*.h' --include='*.cc' | grep -v _test.cc || true)
  [ -z "$found" ] || {
    printf 'src/core does no I/O and reads no clock, but:\n%s\n' "$found" >&2
    status=1
  }
  found=$(sources | xargs wc -l | awk '$1 > 600 && $2 != "total" {print $2 ": " $1 " lines, more than 600"}')
  [ -z "$found" ] || {
    echo "$found" >&2
    status=1
  }
  [ "$status" = 0 ] && echo "lint: nothing to complain about"
  return "$status"
}

clean() { rm -rf "$build" "$build_asan" "$build_fuzz"; }

chore=${1:-help}
[ $# = 0 ] || shift
case $chore in
  help | -h | --help) help ;;
  setup | format | lint | clean) "$chore" ;;
  build) setup && build "$@" ;;
  guest) setup && build_guests ;;
  demo) demo "$@" ;;
  test) test_all "$@" ;;
  unit) setup && build && unit ${1:+-R "$1"} ;;
  e2e) prepare && "$build/test/e2e/e2e_test" --gtest_filter="${1:-*}" ;;
  test-kvm) prepare && test_kvm "$@" ;;
  sanitize) setup && sanitize ;;
  build-sanitized) build_sanitized ;; # for `test`, beside other steps
  sim) setup && build && sim "$@" ;;
  fuzz) setup && fuzz "$@" ;;
  bench) bench "$@" ;;
  *)
    help >&2
    die "there is no chore called '$chore'"
    ;;
esac
