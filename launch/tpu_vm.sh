#!/usr/bin/env bash
# One run on all hosts of a Cloud TPU slice.
# NOT RUN BY US: no TPU was at hand, only shellcheck and a stand-in for gcloud.
#
# usage: launch/tpu_vm.sh install | start ARGUMENTS OF sidae_jax.main | log | stop
#        launch/tpu_vm.sh evaluate ARGUMENTS OF sidae_jax.linear_eval
#
#   export NAME=my-tpu ZONE=europe-west4-b PROJECT=my-project REPOSITORY=https://github.com/NAME/REPOSITORY
#   launch/tpu_vm.sh install
#   launch/tpu_vm.sh start --config=configs/stl10.py --workdir=/mnt/shared/runs/stl10
#   launch/tpu_vm.sh log     # the last lines of every host; only process 0 has much to say
#   launch/tpu_vm.sh stop    # SIGTERM: the run saves and exits; the same `start` continues it
#
# `install` clones REPOSITORY to ~/sidae_jax of each host, or updates it there, with a virtual environment in it
# (PYTHON, by default python3, must be 3.11 or later on the hosts). The run is started with nohup, so that it survives
# the ssh. The workdir must be on a file system that all hosts share, such as Filestore mounted on each.
#
# `evaluate` runs in one process, so give it a slice of a single host (another NAME, which `install` prepares too); it
# prints its table here.
#
# After a preemption create the slice again, `install` and `start` as before: the workdir holds all that is needed.
# TPU7x and later are not managed through `gcloud compute tpus tpu-vm`.
set -euo pipefail

usage() {
  sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p;}' "${BASH_SOURCE[0]}"
}

on_hosts() { # COMMAND [NUMBER OF ONE HOST]
  gcloud compute tpus tpu-vm ssh "${NAME:?is the name of the TPU VM}" --zone="${ZONE:?is its zone}" \
    --project="${PROJECT:?is its Google Cloud project}" --worker="${2:-all}" --command="$1"
}

action=${1:-}
case $action in
  install)
    printf -v repository %q "${REPOSITORY:?is the address to clone}"
    printf -v python %q "${PYTHON:-python3}"
    on_hosts "set -e
      if [ -d ~/sidae_jax ]; then git -C ~/sidae_jax pull --ff-only; else git clone $repository ~/sidae_jax; fi
      $python -m venv ~/sidae_jax/venv
      cd ~/sidae_jax
      venv/bin/pip install --upgrade -e '.[tpu]'"
    ;;
  start)
    shift
    printf -v arguments ' %q' "$@"
    # --distributed: JAX finds the other hosts, and the number of this one, in the metadata of the TPU VM.
    # A second start beside a run would have both write to one workdir, and they could not share the chips.
    on_hosts "cd ~/sidae_jax
      if [ -e run.pid ] && kill -0 \$(cat run.pid) 2>/dev/null; then echo 'a run is going on here' >&2; exit 1; fi
      nohup venv/bin/python -m sidae_jax.main --distributed$arguments >>run.log 2>&1 </dev/null &
      echo \$! >run.pid"
    ;;
  evaluate)
    shift
    printf -v arguments ' %q' "$@"
    on_hosts "cd ~/sidae_jax
      venv/bin/python -m sidae_jax.linear_eval$arguments" 0
    ;;
  log)
    on_hosts "tail -n 20 ~/sidae_jax/run.log"
    ;;
  stop)
    on_hosts "kill -TERM \$(cat ~/sidae_jax/run.pid)"
    ;;
  -h | --help)
    usage
    ;;
  *)
    usage >&2
    exit 2
    ;;
esac
