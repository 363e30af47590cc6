#!/usr/bin/env bash
# One run in several processes on this machine, joined over loopback. On GPUs process i takes GPU i.
#
# usage: launch/local.sh N -- ARGUMENTS OF sidae_jax.main
#
#   launch/local.sh 2 -- --config=configs/digits.py --workdir=runs/digits
#
# The same command continues a run that was stopped; N may be another. PYTHON names the Python to use.
# Process 0 writes to this terminal, process i to WORKDIR/logs/process-i.log. Ctrl-C, SIGTERM and SIGHUP are passed on
# once, upon which the processes save and exit. The exit code is that of the first process that fails; the others then
# have 10 seconds to end by themselves and are killed. (A second signal starts the same 10 seconds.)
set -euo pipefail

usage() {
  sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p;}' "${BASH_SOURCE[0]}"
}

if [[ ${1:-} == -h || ${1:-} == --help ]]; then
  usage
  exit 0
fi
if [[ ! ${1:-} =~ ^[1-9][0-9]*$ || ${2:-} != -- ]]; then
  echo "error: wanted are the number of processes, -- and the arguments of sidae_jax.main, not: $*" >&2
  usage >&2
  exit 2
fi
processes=$1
shift 2

workdir=
for ((i = 1; i <= $#; i++)); do
  next=$((i + 1))
  case ${!i} in
    --workdir=* | -workdir=*) workdir=${!i#*=} ;;
    --workdir | -workdir) workdir=${!next:-} ;;
  esac
done
if [[ -z $workdir ]]; then
  echo "error: --workdir is missing: give the folder of the run, such as --workdir=runs/digits" >&2
  exit 2
fi
workdir=${workdir/#\~\//$HOME/} # bash leaves the ~ of --workdir=~/runs as it is
logs=$workdir/logs
mkdir -p -- "$logs"

python=${PYTHON:-python}
port=$("$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
export JAX_COORDINATOR_BIND_ADDRESS=127.0.0.1:$port # JAX's default is every address of the machine

grace=10
pids=()
signaled=
deadline=

# shellcheck disable=SC2329 # the traps below call it
pass_on() {
  local pid
  for pid in ${pids[@]+"${pids[@]}"}; do
    kill -s "$1" "$pid" 2>/dev/null || true
  done
  if [[ -n $signaled ]]; then
    deadline=${deadline:-$((SECONDS + grace))}
  fi
  signaled=$1
}
trap 'pass_on TERM' TERM HUP
trap 'pass_on INT' INT

for ((i = 0; i < processes; i++)); do
  run=("$python" -m sidae_jax.main "$@"
    --coordinator="127.0.0.1:$port" --num_processes="$processes" --process_id="$i")
  set -m # a process group for each: a Ctrl-C reaches this script alone, which passes it on
  if ((i == 0)); then
    JAX_LOCAL_DEVICE_IDS=$i "${run[@]}" </dev/null &
  else
    JAX_LOCAL_DEVICE_IDS=$i "${run[@]}" </dev/null >>"$logs/process-$i.log" 2>&1 &
  fi
  pids[i]=$!
  set +m
  if [[ -n $signaled ]]; then # while it was being started
    kill -s "$signaled" "${pids[i]}" 2>/dev/null || true
  fi
done

code=0
while ((${#pids[@]})); do
  for i in "${!pids[@]}"; do
    if kill -0 "${pids[i]}" 2>/dev/null; then
      continue
    fi
    ended=0
    wait "${pids[i]}" 2>/dev/null || ended=$?
    unset 'pids[i]'
    if ((ended != 0 && code == 0)); then
      code=$ended
      deadline=${deadline:-$((SECONDS + grace))}
      if [[ -z $signaled ]]; then
        echo "$0: process $i failed with exit code $ended" >&2
        if ((i > 0)); then
          echo "$0: the end of $logs/process-$i.log:" >&2
          tail -n 20 -- "$logs/process-$i.log" >&2
        fi
      fi
    fi
  done
  if [[ -n $deadline ]] && ((${#pids[@]} && SECONDS >= deadline)); then
    echo "$0: killing process ${!pids[*]}" >&2
    for pid in "${pids[@]}"; do
      kill -s KILL -- "-$pid" 2>/dev/null || true # its group
    done
    deadline=$((SECONDS + grace))
  fi
  sleep 0.2 || true # cut short by a signal
done
exit "$code"
