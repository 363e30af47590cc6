#!/usr/bin/env bash
# What to run in the first hour on a machine with a GPU, without a network if the wheels and the data are there.
#
# usage: benchmarks/first_hour.sh --out=DIR [--data=TFDS_DIR] [--python=PYTHON] [--wheels=DIR] [--device=auto|gpu|cpu]
#                                 [--cuda=cuda12|cuda13] [--epochs=200] [--quick]
#
#   --out      the folder of the logs, times, runs and the summary; the same command goes on with what is not done yet
#   --data     prepared TFDS data sets, cifar10 among them (default: $TFDS_DATA_DIR, or TFDS's own folder)
#   --python   makes the virtual environments: 3.11 or newer (default: python3)
#   --wheels   install from this folder alone; made on a machine like it, with a network and the same Python, by
#                pip wheel -w DIR 'setuptools>=77' torch numpy pillow '.[cuda13,test,report]'
#   --device   auto: gpu if nvidia-smi lists one
#   --cuda     of JAX (default: by what the driver supports)
#   --epochs   of the CIFAR-10 runs
#   --quick    everything at a tiny scale, on the digits, which need no data: it tries this script, with --device=cpu too
#
# Steps: install JAX's and PyTorch's environments, record the machine, tests on the CPU and on the GPU, throughput
# beside PyTorch, growth (ours alone), then SidAE, SimSiam and DAE with linear probes on 1% and all of the labels and
# kNN, and a report. A step that fails does not stop the others, is tried again by the next start, and makes the exit
# code 1. Ctrl-C stops; a pre-training that was stopped goes on where it was.
set -uo pipefail

usage() { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p;}' "${BASH_SOURCE[0]}"; }

fail() {
  echo "error: $*" >&2
  exit 2
}

python=python3 wheels='' data='' out='' device=auto cuda='' epochs='' quick=''
for argument in "$@"; do
  case $argument in
    --python=*) python=${argument#*=} ;;
    --wheels=*) wheels=${argument#*=} ;;
    --data=*) data=${argument#*=} ;;
    --out=*) out=${argument#*=} ;;
    --device=auto | --device=gpu | --device=cpu) device=${argument#*=} ;;
    --cuda=cuda12 | --cuda=cuda13) cuda=${argument#*=} ;;
    --epochs=*) epochs=${argument#*=} ;;
    --quick) quick=yes ;;
    -h | --help) usage && exit 0 ;;
    *) usage >&2 && fail "$argument is not an option" ;;
  esac
done
[[ -n $out ]] || fail "--out=DIR is missing: give a folder for all that this writes"
epochs=${epochs:-$([[ $quick ]] && echo 1 || echo 200)}
[[ $epochs =~ ^[1-9][0-9]*$ ]] || fail "--epochs=$epochs is not a number of epochs"
[[ -z $wheels || -d $wheels ]] || fail "--wheels=$wheels is not a folder"
[[ -z $data || -d $data ]] || fail "--data=$data is not a folder"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail "--python=$python is not a Python 3.11 or newer"

mkdir -p -- "$out/logs" "$out/state" || fail "--out=$out cannot be written to"
out=$(cd -- "$out" && pwd)
[[ -z $wheels ]] || wheels=$(cd -- "$wheels" && pwd)
[[ -z $data ]] || data=$(cd -- "$data" && pwd)
[[ $python != */* ]] || python=$(cd -- "$(dirname -- "$python")" && pwd)/$(basename -- "$python")
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." || exit 2

gpus=$(nvidia-smi -L 2>/dev/null | grep -c '^GPU' || true)
if [[ $device == auto ]]; then
  device=$( ((gpus > 0)) && echo gpu || echo cpu)
fi
if [[ -z $cuda ]]; then
  driver=$(nvidia-smi 2>/dev/null | sed -n 's/.*CUDA Version: *\([0-9]*\).*/\1/p')
  cuda=$( ((${driver:-13} >= 13)) && echo cuda13 || echo cuda12)
fi

# What was done in another way must not count as done.
settings="device=$device quick=$quick epochs=$epochs"
if [[ -e $out/state/settings && $(<"$out/state/settings") != "$settings" ]]; then
  fail "$out was begun with $(<"$out/state/settings"), and this is $settings: give another --out"
fi
echo "$settings" >"$out/state/settings"

ours=$out/venv/bin/python theirs=$out/venv-pytorch/bin/python
export PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONUNBUFFERED=1
if [[ $quick ]]; then
  data=$out/tfds # the digits are prepared there, not among the real data
  mkdir -p -- "$data"
fi
[[ -z $data ]] || export TFDS_DATA_DIR=$data
if [[ $device == cpu ]]; then
  export JAX_PLATFORMS=cpu CUDA_VISIBLE_DEVICES=
else
  export JAX_PLATFORMS=cuda,cpu
fi

interrupted=
trap 'interrupted=yes' INT TERM

# step NAME COMMAND...: runs it unless it is done; its output goes to logs/NAME.log, and its seconds to state/NAME.done
step() {
  local name=$1 since=$SECONDS code=0
  shift
  if [[ -e $out/state/$name.done ]]; then
    echo "$name: done before"
    return
  fi
  rm -f -- "$out/state/$name.failed"
  echo "$name: $(date +%H:%M:%S), $out/logs/$name.log"
  ("$@") >>"$out/logs/$name.log" 2>&1 </dev/null || code=$? # in a subshell: what it sets must not reach the next
  if [[ $interrupted ]]; then
    echo "$name: interrupted; the same command goes on" >&2
    exit 130
  fi
  if ((code == 0)); then
    echo $((SECONDS - since)) >"$out/state/$name.done"
  else
    echo $((SECONDS - since)) >"$out/state/$name.failed"
    echo "$name: FAILED with exit code $code, the end of its log:" >&2
    tail -n 5 -- "$out/logs/$name.log" | sed 's/^/  /' >&2
  fi
  return "$code"
}

# shellcheck source=benchmarks/first_hour_steps.sh
source benchmarks/first_hour_steps.sh
{ # read before it is run: bash would read on in a file that has changed meanwhile
  all_steps
  "$python" benchmarks/first_hour_summary.py "$out" | tee "$out/summary.txt"
  [[ -z $(find "$out/state" -name '*.failed') ]]
  exit
}
