#!/usr/bin/env bash
# Has a real Prometheus watch real programs, and a worker die: bash deploy/prometheus/try.sh [FOLDER WITH nn, nn-coord AND nn-worker]
# Starts a coordinator with three workers, a training run, a server of a model, and Prometheus with the configuration and the rules
# of this folder, all of them on 127.0.0.1 and in a temporary folder. Prints what Prometheus saw, and ends all that it started.
# The default folder is the one that cargo build --release writes to. It needs curl, and Debian's prometheus, which it installs if it
# can. The exit code is 0 if Prometheus saw all that it should.
set -euo pipefail
repository=$(realpath "$(dirname "$0")/../..")
target=$(realpath -m "${CARGO_TARGET_DIR:-$repository/target}")
programs=$(realpath -m "${1:-$target/release}")
here=$repository/deploy/prometheus

die() { echo "error: $*" >&2; exit 1; }
need() { command -v "$1" >/dev/null 2>&1; }
for program in nn nn-coord nn-worker; do
  [ -x "$programs/$program" ] || die "there is no $programs/$program: cargo build --release --bins builds it"
done
for tool in curl python3; do need "$tool" || die "$tool is missing"; done
if ! need prometheus || ! need promtool; then
  need apt-get || die "prometheus is missing: install it, then run this again"
  # RUNLEVEL=1: the service is installed, but not started.
  apt-get update -qq && RUNLEVEL=1 apt-get install -y -qq --no-install-recommends prometheus
fi

work=$(mktemp -d)
children=()
finish() {
  # Only what this script started, by its number.
  for child in "${children[@]}"; do kill "$child" 2>/dev/null || true; done
  for child in "${children[@]}"; do wait "$child" 2>/dev/null || true; done
  rm -rf "$work"
}
trap finish EXIT
cd "$work"
# Variables of the caller are not meant for these programs.
while read -r name; do unset "$name"; done < <(compgen -e | grep '^NN_')
export NN_CACHE_DIR=$work/cache

# start NAME COMMAND…: starts a program, with its output in NAME.log. Its number is then in $child.
start() {
  local name=$1
  shift
  "$@" >"$name.log" 2>&1 &
  child=$!
  children+=("$child")
}
# murder CHILD: kills a program that start has started, without a chance to say goodbye.
murder() {
  local left=() child
  { kill -9 "$1" && wait "$1"; } 2>/dev/null || true
  for child in "${children[@]}"; do [ "$child" = "$1" ] || left+=("$child"); done
  children=("${left[@]}")
}
# told NAME WORDS: the text after these words in a program's output, up to a blank, once it is there.
told() {
  local text
  for _ in $(seq 300); do
    text=$(grep -o "$2[^ ;]*" "$1.log" | head -n 1 | sed "s|^$2||") || true
    [ -z "$text" ] || { echo "$text"; return; }
    sleep 0.1
  done
  cat "$1.log" >&2
  die "$1 does not say: $2"
}
metrics() { told "$1" 'figures for Prometheus are at http://' | sed 's|/metrics$||'; }
free_port() {
  local port
  for port in $(shuf -i 20000-60000 -n 50); do
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { echo "$port"; return; }
  done
  die "no port is free"
}

echo "-- programs"
listen=(--metrics-listen 127.0.0.1:0)
"$programs/nn" train --quiet --epochs 3 --out digits
start coord "$programs/nn-coord" --listen 127.0.0.1:0 --threads 0 --out cluster "${listen[@]}" \
  --epochs 1000000 --batch-size 128 --shard-size 16 --hidden 48,32
coord=$child
address=$(told coord 'listening on ')
worker() {
  start "$1" "$programs/nn-worker" --coordinator "$address" --name "$1" --threads 1 "${listen[@]}"
}
worker ada
worker grace
worker mary
victim=$child
start serve "$programs/nn" serve --model digits/model.safetensors --listen 127.0.0.1:0 --threads 1 "${listen[@]}"
page=$(told serve ' at http://')
start train "$programs/nn" train --epochs 1000000 --threads 1 --out alone "${listen[@]}"
names=(coord train ada grace mary serve)
declare -A at
for name in "${names[@]}"; do
  at[$name]=$(metrics "$name")
  echo "$name: http://${at[$name]}/metrics"
done

echo "-- promtool"
promtool check config "$here/prometheus.yml" >/dev/null || die "promtool refuses prometheus.yml"
promtool check rules "$here/alerts.yml" >/dev/null || die "promtool refuses alerts.yml"
promtool test rules "$here/alerts_test.yml" >/dev/null || die "the tests of the rules fail"
for name in "${names[@]}"; do
  curl -sSf "http://${at[$name]}/metrics" | promtool check metrics || die "promtool refuses the figures of $name"
done
echo "configuration, rules, their tests, and the figures of ${#names[@]} programs: ok"

echo "-- Prometheus"
# The configuration of this folder with the addresses above, and hurried: scrapes and rules every second, alerts after three.
targets() {
  local name text=
  for name in "$@"; do text+="\"${at[$name]}\", "; done
  echo "[${text%, }]"
}
sed -e 's/scrape_interval: .*/scrape_interval: 1s/' -e 's/evaluation_interval: .*/evaluation_interval: 1s/' \
  -e "s/\[\"127.0.0.1:9464\"\]/$(targets coord train)/" \
  -e "s/\[\"127.0.0.1:9465\"\]/$(targets ada grace mary)/" \
  -e "s/\[\"127.0.0.1:9466\"\]/$(targets serve)/" "$here/prometheus.yml" >prometheus.yml
sed -e 's/for: .*/for: 3s/' -e 's/\[1h:1m\]/[1h:1s]/' "$here/alerts.yml" >alerts.yml
promtool check config prometheus.yml >/dev/null || die "promtool refuses the hurried configuration"
prometheus=http://127.0.0.1:$(free_port)
start prometheus prometheus --config.file prometheus.yml --storage.tsdb.path data --log.level warn \
  --web.listen-address "${prometheus#http://}"
for _ in $(seq 300); do
  curl -sf "$prometheus/-/ready" >/dev/null && break
  sleep 0.1
done
curl -sSf "$prometheus/-/ready" || { cat prometheus.log >&2; die "Prometheus is not ready"; }

# ask EXPRESSION: the first value of an answer; nothing if there is none.
ask() { promtool query instant "$prometheus" "$1" | sed -n '1s/.*=> \([^ ]*\) .*/\1/p'; }
# line WORDS ANSWER EXPRESSION: a line of the table.
line() { printf '%-44s %12s   %s\n' "$1" "$2" "${3//"$run"/$short}"; }
# shown WORDS EXPRESSION: asks, and prints what the answer is, in four digits.
failed=0
shown() {
  local value
  value=$(ask "$2" | awk '{ if ($1 >= 1000) printf "%.0f", $1; else printf "%.4g", $1 }')
  [ -n "$value" ] || { value="NOTHING"; failed=1; }
  line "$1" "$value" "$2"
}
# within SECONDS WORDS EXPRESSION: waits until an expression has an answer, and says how long that took.
within() {
  local from=$SECONDS
  until [ -n "$(ask "$3")" ]; do
    if ((SECONDS - from > $1)); then
      line "$2" "NOT IN $1 s" "$3"
      failed=1
      return
    fi
    sleep 0.2
  done
  line "$2" "yes, $((SECONDS - from)) s" "$3"
}
data=$(printf '0.5,%.0s' {1..64})
body="{\"inputs\": [{\"name\": \"input\", \"shape\": [1, 64], \"datatype\": \"FP32\", \"data\": [${data%,}]}]}"
requests() {
  local i
  for i in $(seq "$1"); do
    [ -n "$i" ] && curl -s -o /dev/null -H 'content-type: application/json' -d "$body" "http://$page/v2/models/digits/infer"
  done
  curl -s -o /dev/null "http://$page/nothing"
}

run="instance=\"${at[coord]}\""
short='instance="COORD"'
within 30 "all targets are up" "count(up == 1) == ${#names[@]}"
within 30 "the coordinator has three workers" "sum(nn_workers{$run,state!=\"quarantined\"}) == 3"
requests 20
sleep 3
requests 20
sleep 2
shown "targets that are up" 'count(up == 1)'
shown "programs by nn_build_info" 'count(count by (program) (nn_build_info))'
shown "youngest program, seconds" 'min(time() - nn_process_start_time_seconds)'
shown "steps a second, cluster" "rate(nn_steps_total{$run}[5s])"
shown "steps a second, one machine" "rate(nn_steps_total{instance=\"${at[train]}\"}[5s])"
shown "median time of a step, cluster, seconds" "histogram_quantile(0.5, rate(nn_step_duration_seconds_bucket{$run}[5s]))"
shown "samples a second, by the coordinator" "rate(nn_samples_total{$run}[5s])"
shown "samples a second, by its workers" 'sum(rate(nn_computed_samples_total[5s]))'
shown "median time of a part, workers, seconds" \
  'histogram_quantile(0.5, sum by (le) (rate(nn_part_duration_seconds_bucket[5s])))'
shown "bytes a second, coordinator to workers" "rate(nn_network_bytes_total{$run,direction=\"sent\"}[5s])"
shown "the same, as the workers receive them" \
  'sum(rate(nn_network_bytes_total{job="nn-worker",direction="received"}[5s]))'
shown "bytes a second, workers to coordinator" "rate(nn_network_bytes_total{$run,direction=\"received\"}[5s])"
shown "the same, as the workers send them" 'sum(rate(nn_network_bytes_total{job="nn-worker",direction="sent"}[5s]))'
for state in loading joining idle computing overdue late quarantined; do
  shown "workers: $state" "nn_workers{$run,state=\"$state\"}"
done
shown "workers that say they are ready" 'count(nn_worker_state{state="ready"} == 1)'
shown "longest silence of a worker, seconds" "max(nn_worker_silent_seconds{$run})"
shown "longest silence of the coordinator, seconds" 'max(nn_coordinator_silent_seconds)'
shown "loss of the cluster's last mini-batch" "nn_batch_loss{$run}"
shown "requests of the server, 200" 'sum(nn_http_requests_total{code="200"})'
shown "requests of the server, 404" 'sum(nn_http_requests_total{code="404"})'
shown "99 % of answers within, seconds" \
  'histogram_quantile(0.99, sum by (le) (rate(nn_http_request_duration_seconds_bucket[10s])))'
shown "samples answered" 'nn_answered_samples_total'
shown "model served" 'count(nn_model_info{model="digits"})'
shown "alerts about missing workers" 'count(ALERTS{alertname=~"NnWorkersMissing|NnDown"}) or vector(0)'

echo "-- Grafana's dashboard"
# Every question of deploy/grafana/nn.json, for all programs at once.
python3 - "$repository/deploy/grafana/nn.json" >expressions <<'PY'
import json, sys
for panel in json.load(open(sys.argv[1]))["panels"]:
    for target in panel.get("targets", []):
        print(panel["title"], target["expr"].replace("$instance", ".*"), sep="\t")
PY
[ -s expressions ] || die "the dashboard asks nothing"
while IFS=$'\t' read -r title expression; do
  [ -n "$(ask "$expression")" ] || { line "$title" "NOTHING" "$expression"; failed=1; }
done <expressions
echo "$(wc -l <expressions) questions asked"

echo "-- a worker dies (SIGKILL)"
murder "$victim"
within 30 "its target is down" "up{instance=\"${at[mary]}\"} == 0"
within 60 "the coordinator has two workers" "sum(nn_workers{$run,state!=\"quarantined\"}) == 2"
within 60 "alert NnWorkersMissing fires" "ALERTS{alertname=\"NnWorkersMissing\",alertstate=\"firing\",$run}"
within 60 "alert NnDown fires" "ALERTS{alertname=\"NnDown\",alertstate=\"firing\",instance=\"${at[mary]}\"}"
within 30 "the run goes on" "rate(nn_steps_total{$run}[3s]) > 0"
shown "nodes given to another worker" "nn_nodes_reissued_total{$run}"

echo "-- another takes its place"
listen=(--metrics-listen "${at[mary]}")
worker mary
within 30 "its target is up" "up{instance=\"${at[mary]}\"} == 1"
within 60 "the coordinator has three workers" "sum(nn_workers{$run,state!=\"quarantined\"}) == 3"
within 60 "no alert about missing workers" 'absent(ALERTS{alertname=~"NnWorkersMissing|NnDown"})'

echo "-- the coordinator dies (SIGKILL)"
murder "$coord"
within 60 "three workers are connecting" 'count(nn_worker_state{state="connecting"} == 1) == 3'
within 60 "alert NnWorkerCannotConnect fires" 'count(ALERTS{alertname="NnWorkerCannotConnect",alertstate="firing"}) == 3'
shown "connections lost" 'sum(nn_coordinator_connections_lost_total)'

if ((failed)); then
  die "Prometheus did not see all that it should: see above"
fi
echo "Prometheus saw all that it should"
