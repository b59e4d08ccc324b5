#!/usr/bin/env bash
# Fetches what the tests need and runs all of them: formatting, lints, unit tests, integration tests, and the tests against
# real servers. For Debian and its kin with a Rust toolchain; as root or with sudo it installs what is missing, and a second
# run installs nothing. What it puts on the machine: the packages named below. Everything else stays in target/ and .venv/.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Debian keeps servers in a folder that is not on everybody's search path.
PATH="$PATH:/usr/sbin:/sbin"
docs=$(realpath -m "${CARGO_TARGET_DIR:-target}/test-docs")
servers=$(realpath -m "${CARGO_TARGET_DIR:-target}/test-servers")
datasette_version=0.65.5

say() { printf '==> %s\n' "$*"; }
fail() {
    printf 'tests/run.sh: %s\n' "$*" >&2
    exit 1
}
has() { command -v "$1" >/dev/null; }

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif has sudo; then
        sudo "$@"
    else
        fail "this needs root and there is no sudo: $*"
    fi
}

# The lists of packages are fetched once, and only when something is missing.
lists_are_fresh=
refresh_lists() {
    if [ -z "$lists_are_fresh" ]; then
        has apt-get || fail "this machine has no apt-get; install nginx, squid, microsocks, PHP, OpenSSL, wget, python3 with venv, Node.js with npm and a C compiler by hand"
        as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq
        lists_are_fresh=yes
    fi
}

install_programs() {
    local missing=()
    has nginx || missing+=(nginx-light)
    has openssl || missing+=(openssl)
    has squid || missing+=(squid)
    has microsocks || missing+=(microsocks)
    # MediaWiki's language and what it asks of it; no server: PHP has one of its own.
    has php || missing+=(php-cli)
    has_php_modules || missing+=(php-sqlite3 php-mbstring php-xml php-intl)
    has wget || missing+=(wget)
    python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
    has node || missing+=(nodejs)
    has npm || missing+=(npm)
    has cc || missing+=(gcc libc6-dev)
    has make || missing+=(make)
    has pkg-config || missing+=(pkg-config)
    [ -e /etc/ssl/certs/ca-certificates.crt ] || missing+=(ca-certificates)
    if [ ${#missing[@]} -gt 0 ]; then
        say "installing ${missing[*]}"
        refresh_lists
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
    fi
}

has_php_modules() {
    local module modules
    modules=$(php -m 2>/dev/null) || return
    for module in pdo_sqlite mbstring xml intl; do
        grep -qx "$module" <<<"$modules" || return
    done
}

install_datasette() {
    if [ "$(.venv/bin/datasette --version 2>/dev/null)" != "datasette, version $datasette_version" ]; then
        say "installing Datasette $datasette_version into .venv"
        python3 -m venv --clear .venv
        .venv/bin/pip install --quiet --disable-pip-version-check "datasette==$datasette_version"
    fi
}

# is_installed NAME: whether what tests/real/servers/NAME asks for is installed as it stands there now.
is_installed() { cmp --silent "tests/real/servers/$1" "$servers/$1"; }

# Servers in JavaScript and Python: rate limiters and APIs, all in the versions of their lock files.
install_packages() {
    mkdir -p "$servers"
    if ! is_installed package-lock.json; then
        say "installing express-rate-limit and json-server"
        # From a folder of its own, and the list last: its presence says that all is there.
        rm -rf "$servers/npm"
        mkdir "$servers/npm"
        cp tests/real/servers/package.json tests/real/servers/package-lock.json "$servers/npm"
        (cd "$servers/npm" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >/dev/null)
        cp tests/real/servers/package-lock.json "$servers"
    fi
    if ! is_installed requirements.txt; then
        say "installing Flask-Limiter and Kinto"
        python3 -m venv --clear "$servers/python"
        "$servers/python/bin/pip" install --quiet --disable-pip-version-check --no-deps -r tests/real/servers/requirements.txt
        cp tests/real/servers/requirements.txt "$servers"
    fi
}

# MediaWiki, unpacked and not installed: as a package it asks for a web server. Of its languages only English, and none of its
# extensions: that is a third of its size. The wiki itself is made by the tests.
install_mediawiki() {
    local wiki=usr/share/mediawiki folder="$servers/.mediawiki"
    if [ -f "$servers/mediawiki/api.php" ]; then
        return
    fi
    say "fetching MediaWiki"
    rm -rf "$folder" "$servers/mediawiki"
    mkdir -p "$folder"
    (cd "$folder" && apt-get download -qq mediawiki mediawiki-classes) 2>/dev/null || {
        refresh_lists
        (cd "$folder" && apt-get download -qq mediawiki mediawiki-classes)
    }
    dpkg-deb --fsys-tarfile "$folder"/mediawiki_*.deb |
        tar -x -C "$folder" --exclude="./$wiki/extensions-core/*" --exclude="*/i18n/*" "./$wiki"
    dpkg-deb --fsys-tarfile "$folder"/mediawiki_*.deb |
        tar -x -C "$folder" --wildcards --exclude="./$wiki/extensions-core/*" "./$wiki/*/en.json"
    dpkg-deb --fsys-tarfile "$folder"/mediawiki-classes_*.deb | tar -x -C "$folder"
    # Links into folders of an installed wiki.
    (cd "$folder/$wiki" && rm -f extensions images config LocalSettings.php && mkdir extensions images)
    mv "$folder/$wiki" "$servers/mediawiki"
    rm -rf "$folder"
}

# unpack_docs NAME PACKAGE: the HTML documentation in PACKAGE, or in the package that it depends on, as $docs/NAME.
# It is unpacked and not installed: small images of Debian drop /usr/share/doc whatever is installed, and so it needs no root.
unpack_docs() {
    local name=$1 package=$2 folder="$docs/.$1" html
    if [ -f "$docs/$name/index.html" ]; then
        return
    fi
    say "fetching the documentation of $name"
    rm -rf "$folder" "${docs:?}/$name"
    mkdir -p "$folder"
    download_docs "$folder" "$package" 2>/dev/null || {
        refresh_lists
        download_docs "$folder" "$package"
    }
    dpkg-deb -x "$folder"/*.deb "$folder"
    rm "$folder"/*.deb
    html=$(find "$folder/usr/share/doc" -type d -name html)
    [ -f "$html/index.html" ] || fail "the package $package has no HTML documentation"
    ln -s "$html" "$docs/$name"
}

# Debian's python3-doc and postgresql-doc are empty and depend on those of one version.
download_docs() {
    local versioned
    versioned=$(apt-cache depends --important "$2" | sed -n 's/^ *Depends: *\([a-z0-9.]*-doc[-0-9]*\)$/\1/p' | head -n 1)
    [ -n "$versioned" ] || return 1
    (cd "$1" && apt-get download -qq "$versioned")
}

check_toolchain() {
    has cargo || fail "there is no cargo; install Rust from https://rustup.rs"
    cargo --version
    # A minimal toolchain lacks these two.
    cargo fmt --version >/dev/null 2>&1 && cargo clippy --version >/dev/null 2>&1 && return
    has rustup || fail "this toolchain has no rustfmt or no clippy"
    say "installing rustfmt and clippy"
    rustup component add rustfmt clippy
}

say "1 of 4: what the tests need"
install_programs
install_datasette
install_packages
install_mediawiki
unpack_docs python python3-doc
unpack_docs postgresql postgresql-doc
check_toolchain

say "2 of 4: formatting"
cargo fmt --check

say "3 of 4: lints"
cargo clippy --locked --all-targets -- -D warnings

say "4 of 4: unit tests, integration tests, and tests against real servers (tests/real)"
export TRUNDLE_TEST_DOCS="$docs" TRUNDLE_TEST_SERVERS="$servers"
cargo test --locked --no-fail-fast

say "all passed"
