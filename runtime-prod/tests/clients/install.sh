#!/usr/bin/env bash
# Installs the clients, pinned, into target/: from the distribution, from PyPI, from the npm registry. What is there is
# left alone, so a second call takes no time. Nothing of this becomes part of the broker.
#
# | client | from | licence |
# |---|---|---|
# | kcat 1.7.1 with librdkafka 2.0.2 | the distribution | BSD-2-Clause |
# | confluent-kafka 2.16.1 and 2.0.2, each with the librdkafka of its number or near it | PyPI | Apache-2.0, BSD-2-Clause |
# | kafka-python 3.0.12 | PyPI | Apache-2.0 |
# | aiokafka 0.14.0 | PyPI | Apache-2.0 |
# | lz4, python-snappy, cramjam, zstandard: codecs of both | PyPI | BSD-3-Clause, MIT |
# | moto 5.2.1, an S3 server | PyPI | Apache-2.0 |
# | kafkajs 2.2.4, kafkajs-snappy, snappyjs, lz4-napi, zstd-codec | npm | MIT |
# | sarama 1.22.1, with Go | the distribution | MIT; BSD-3-Clause |
# | kafka-clients 3.9.1 (Java) with lz4-java, snappy-java, zstd-jni, slf4j-api, Jackson | PyPI: a redistribution of the jars for PyFlink | Apache-2.0, BSD-2-Clause, MIT |
# | OpenJDK | the distribution | GPL-2.0 with the Classpath exception |
set -euo pipefail
cd "$(dirname "$0")/../../.."
agents=runtime-prod/tests/clients/agents
interop=target/interop
mkdir -p "$interop"

python_packages=(confluent-kafka==2.16.1 'moto[server]==5.2.1' kafka-python==3.0.12 aiokafka==0.14.0 lz4==4.4.5
    python-snappy==0.7.3 cramjam==2.14.0 zstandard==0.25.0)
java_package=shigawire-apache-flink-libraries==2.0.0.post1

# Runs what follows unless it ran before for the same text, which names what is installed.
once() {
    local name=$1 what=$2
    shift 2
    if [ "$(cat "$interop/$name.installed" 2> /dev/null)" = "$what" ]; then return; fi
    printf 'install %s\n' "$what"
    rm -f "$interop/$name.installed"
    # Said outright, since no error ends a function that stands in a condition.
    "$@" || return
    printf '%s\n' "$what" > "$interop/$name.installed"
}

# Packages of the distribution, if one of the files that they bring is missing.
packages() {
    local wanted=$1
    shift
    for file in "$@"; do
        if [ ! -e "$file" ] && ! command -v "$file" > /dev/null; then
            printf 'install %s\n' "$wanted"
            apt-get update -q > /dev/null
            # shellcheck disable=SC2086
            DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $wanted > /dev/null
            return
        fi
    done
}

python_environment() {
    local where=$1
    shift
    rm -rf "$where"
    python3 -m venv "$where"
    "$where/bin/pip" install -q --disable-pip-version-check "$@"
}

node_packages() {
    mkdir -p "$interop/node"
    cp "$agents/package.json" "$agents/package-lock.json" "$interop/node/"
    (cd "$interop/node" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error > /dev/null)
}

jars() {
    local wheels
    wheels=$(mktemp -d)
    target/clients-venv/bin/pip download -q --disable-pip-version-check --no-deps -d "$wheels" "$java_package"
    rm -rf "$interop/java"
    mkdir -p "$interop/java"
    python3 - "$wheels" "$interop/java" <<< "
import pathlib, shutil, sys, zipfile
names = 'kafka-clients lz4-java snappy-java zstd-jni slf4j-api jackson-core jackson-databind jackson-annotations'.split()
[wheel] = pathlib.Path(sys.argv[1]).glob('*.whl')
with zipfile.ZipFile(wheel) as found:
    for name in names:
        with found.open(f'pyflink/lib/{name}.jar') as jar, open(f'{sys.argv[2]}/{name}.jar', 'wb') as out:
            shutil.copyfileobj(jar, out)
"
    rm -rf "$wheels"
    (cd "$interop/java" && sha256sum --check --quiet) < "$agents/jars.sha256"
}

compile_java() {
    rm -f "$interop"/java/Agent*.class
    javac -nowarn -d "$interop/java" -cp "$(printf '%s:' "$interop"/java/*.jar)" "$agents/Agent.java" 2> "$interop/javac.log" ||
        { cat "$interop/javac.log" >&2; return 1; }
}

compile_go() {
    mkdir -p "$interop/go"
    rm -f "$interop/go/sarama"
    GO111MODULE=off GOFLAGS='' GOPATH=/usr/share/gocode GOCACHE="$PWD/$interop/go/cache" \
        go build -o "$interop/go/sarama" "$agents/sarama.go" 2> "$interop/go/build.log" ||
        { cat "$interop/go/build.log" >&2; return 1; }
}

text_of() { sha256sum "$@" | sha256sum | cut -c1-16; }

packages kcat kcat
once python "${python_packages[*]}" python_environment target/clients-venv "${python_packages[@]}"
once librdkafka-2.0.2 'confluent-kafka==2.0.2' python_environment "$interop/librdkafka-2.0.2" confluent-kafka==2.0.2
# Node, Go and Java are not everywhere to be had: interop.py skips a client that could not be fetched, and says so. What was
# fetched must be what is pinned, and must compile.
fetched() {
    local client=$1
    shift
    ("$@") || { printf 'NOT INSTALLED: %s\n' "$client" >&2; return 1; }
}

if { command -v npm > /dev/null || fetched kafkajs packages 'nodejs npm' node npm; }; then
    fetched kafkajs once node "kafkajs and its codecs, $(text_of "$agents/package-lock.json")" node_packages || true
fi
if fetched sarama packages 'golang-go golang-github-shopify-sarama-dev gcc libc6-dev' \
    go gcc /usr/share/gocode/src/github.com/Shopify/sarama; then
    once go "the agent of sarama, $(text_of "$agents/sarama.go")" compile_go
fi
if fetched java packages default-jdk-headless java javac; then
    once jars "$java_package, $(text_of "$agents/jars.sha256")" jars
    once java "the agent of kafka-clients, $(text_of "$agents/Agent.java" "$agents/jars.sha256")" compile_java
fi
