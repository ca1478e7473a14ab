#!/usr/bin/env bash
# Checks this folder without starting any of it: bash deploy/check.sh [FOLDER WITH nn, nn-coord AND nn-worker]
# The default folder is the one that cargo build --release writes to. The script installs missing tools (shellcheck, systemd
# and nginx from Debian, the rest from PyPI), and fails if it cannot.
set -euo pipefail
repository=$(realpath "$(dirname "$0")/..")
# Like cargo, take a relative CARGO_TARGET_DIR relative to the caller's folder.
target=$(realpath -m "${CARGO_TARGET_DIR:-$repository/target}")
programs=$(realpath -m "${1:-$target/release}")
cd "$repository"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

need() { command -v "$1" >/dev/null 2>&1; }
die() { echo "$*" >&2; exit 1; }
for program in nn nn-coord nn-worker; do
  [ -x "$programs/$program" ] || die "there is no $programs/$program: cargo build --release --bins builds it"
done
missing=()
need shellcheck || missing+=(shellcheck)
need systemd-analyze || missing+=(systemd)
need nginx || missing+=(nginx-light)
if [ ${#missing[@]} -gt 0 ]; then
  need apt-get || die "missing: ${missing[*]}; install them, then run this again"
  # RUNLEVEL=1: a service is installed, but not started.
  apt-get update -qq && RUNLEVEL=1 apt-get install -y -qq --no-install-recommends "${missing[@]}"
fi
venv=$target/deploy-venv
if ! cmp -s deploy/requirements.txt "$venv/requirements.txt"; then
  rm -rf "$venv"
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check -r deploy/requirements.txt
  cp deploy/requirements.txt "$venv/requirements.txt"
fi

echo "-- shell scripts"
mapfile -t scripts < <(grep -rlE '^#!.*\b(ba)?sh$' deploy .ci)
for script in "${scripts[@]}"; do bash -n "$script"; done
shellcheck "${scripts[@]}"
echo "${#scripts[@]} scripts"

echo "-- sbatch"
# Slurm reads #SBATCH lines only before the first command.
awk '/^[^#]/ { begun = 1 } /^#SBATCH/ { if (begun) exit 1; count++ } END { exit count == 0 }' deploy/slurm/nn.sbatch ||
  die "deploy/slurm/nn.sbatch: Slurm ignores #SBATCH lines after the first command"

echo "-- YAML"
"$venv/bin/yamllint" --strict -d '{extends: default, rules: {line-length: {max: 130}, document-start: disable,
  braces: {max-spaces-inside: 0}, octal-values: disable, truthy: {check-keys: false}, comments: {min-spaces-from-content: 1},
  comments-indentation: disable}}' deploy
echo "ok"

echo "-- Prometheus and Grafana"
python3 -m json.tool deploy/grafana/nn.json >/dev/null || die "deploy/grafana/nn.json is no JSON"
# What they ask for is what the programs serve.
grep -ohE '\bnn_[a-z0-9_]+' deploy/grafana/nn.json deploy/prometheus/{alerts.yml,alerts_test.yml,try.sh} |
  sed -E 's/_(bucket|sum)$//' | sort -u >"$work/names"
[ -s "$work/names" ] || die "deploy/ asks for no figures of nn"
while read -r name; do
  grep -rq "\"$name\"" src/telemetry || die "no program serves $name, which deploy/ asks for"
done <"$work/names"
if command -v promtool >/dev/null; then
  promtool check rules deploy/prometheus/alerts.yml >/dev/null || die "promtool refuses deploy/prometheus/alerts.yml"
  promtool check config deploy/prometheus/prometheus.yml >/dev/null || die "promtool refuses deploy/prometheus/prometheus.yml"
  promtool test rules deploy/prometheus/alerts_test.yml >/dev/null || die "an alert of deploy/prometheus does not do what its test says"
else
  echo "NOT CHECKED: rules and configuration of Prometheus, because there is no promtool" >&2
fi
echo "ok"

echo "-- systemd"
mkdir "$work/units"
cp deploy/systemd/*.service "$work/units/"
sed -i "s|/usr/local/bin/|$programs/|" "$work"/units/*.service # the programs need not be installed
verify() { systemd-analyze verify "$work"/units/nn-*.service 2>&1; }
said=$(verify) || die "$said"
[ -z "$said" ] || die "$said"
# The same with the drop-ins.
cp -r deploy/systemd/*.service.d "$work/units/"
sed -i "s|/usr/local/bin/|$programs/|" "$work"/units/*.d/*.conf
said=$(verify) || die "$said"
[ -z "$said" ] || die "$said"
for unit in "$work"/units/nn-*.service; do
  # The threshold is in tenths of the exposure, from 0 to 100. The services need a network, so some exposure remains.
  systemd-analyze security --offline=true --threshold=15 --no-pager "$unit" | tail -n 1
done
echo "DoesNotExist=yes" >>"$work/units/nn-coord.service"
[ -n "$(verify)" ] || die "the check of the units misses an unknown key"

echo "-- nginx"
check_nginx() { nginx -t -q -e "$work/nginx.log" -g "pid $work/nginx.pid;" -p "$work" -c "$1"; }
check_nginx "$PWD/deploy/nginx/nn.conf"
sed 's/grpc_pass/grpc_past/' deploy/nginx/nn.conf >"$work/wrong.conf"
if check_nginx "$work/wrong.conf" 2>/dev/null; then
  die "the check of nginx's configuration misses an unknown directive"
fi
echo "ok"

echo "-- Kubernetes"
# In a copy, with placeholders for the secrets.
cp -r deploy/k8s "$work/k8s"
rm -rf "$work/k8s/overlays/mtls/certs"
mkdir "$work/k8s/overlays/mtls/certs"
for file in token/token mtls/certs/{ca.pem,{coordinator,worker,probe}.{pem,key}}; do
  echo "a placeholder" >"$work/k8s/overlays/$file"
done
for overlay in token mtls; do
  "$venv/bin/kubectl" kustomize "$work/k8s/overlays/$overlay" >"$work/$overlay.yaml"
  sed -i "s|^kind: Kustomization|&\ncomponents: [../../components/fetch]|" "$work/k8s/overlays/$overlay/kustomization.yaml"
  "$venv/bin/kubectl" kustomize "$work/k8s/overlays/$overlay" >"$work/$overlay-fetch.yaml"
done
for version in 1.30.0 1.37.0; do
  "$venv/bin/kubernetes-validate" --strict --quiet -k "$version" "$work"/{token,mtls}{,-fetch}.yaml deploy/k8s/results.yaml ||
    die "the manifests are invalid for Kubernetes $version"
done
sed 's/readOnlyRootFilesystem/readOnlyRootFileSystem/' "$work/token.yaml" >"$work/wrong.yaml"
if "$venv/bin/kubernetes-validate" --strict --quiet "$work/wrong.yaml" >/dev/null 2>&1; then
  die "the check of the manifests misses a misspelt field"
fi
# The schemas do not check that references resolve.
"$venv/bin/python" - "$work/token.yaml" "$work/mtls.yaml" <<'PY'
import sys, yaml
for path in sys.argv[1:]:
    all_ = list(yaml.safe_load_all(open(path)))
    names = {(d["kind"], d["metadata"]["name"]) for d in all_}
    pods = [d for d in all_ if d["kind"] in ("StatefulSet", "Deployment")]
    labels = [d["spec"]["template"]["metadata"]["labels"] for d in pods]
    chosen = [d["spec"]["selector"] for d in all_ if d["kind"] == "Service"]
    chosen += [d["spec"]["podSelector"].get("matchLabels", {}) for d in all_ if d["kind"] == "NetworkPolicy"]
    chosen += [d["spec"]["selector"]["matchLabels"] for d in all_ if d["kind"] in ("StatefulSet", "Deployment", "PodDisruptionBudget")]
    for selector in chosen:
        assert any(selector.items() <= l.items() for l in labels), f"{path}: no pod matches {selector}"
    for d in pods:
        spec = d["spec"]["template"]["spec"]
        claims = {c["metadata"]["name"] for c in d["spec"].get("volumeClaimTemplates", [])}
        for volume in spec["volumes"]:
            for kind, key in (("secret", "secretName"), ("configMap", "name")):
                if kind in volume:
                    wanted = ("Secret" if kind == "secret" else "ConfigMap", volume[kind][key])
                    assert wanted in names, f"{path}: there is no {wanted}"
        have = {v["name"] for v in spec["volumes"]} | claims
        for mount in spec["containers"][0]["volumeMounts"]:
            assert mount["name"] in have, f"{path}: there is no volume {mount['name']}"
    print(f"{len(all_)} objects")
PY

echo "-- flags and file names"
mapfile -t texts < <(find deploy -name '*.md' -o -path 'deploy/systemd/*' -type f -o -path 'deploy/nginx/*' -o -name '*.sbatch' -o -name 'kustomization.yaml')
"$venv/bin/python" deploy/check-flags.py "$programs" deploy "${texts[@]}" "$work"/{token,mtls}.yaml
echo 'nn-worker --no-such-flag' >"$work/wrong.md"
if "$venv/bin/python" deploy/check-flags.py "$programs" deploy "$work/wrong.md" >/dev/null 2>&1; then
  die "the check of the flags misses an unknown flag"
fi
