#!/usr/bin/env bash
# A Slurm cluster of this one machine runs launch/slurm.sbatch, launch/slurm_array.sbatch and launch/slurm_eval.sbatch.
#
# usage: tests/slurm/run.sh     (PYTHON names the Python to use; slurmd needs root's rights)
#
# Two tasks train on the digits. The time limit stops them once and `scontrol requeue` another time; the run must end
# with the parameters (sha256) of one that launch/local.sh has run in two processes without a stop. The daemons are this
# script's own: other ports, folders and key than those of a Slurm that may run here.
set -euo pipefail
cd "$(dirname "$0")/../.."

work=$(mktemp -d)
chmod 755 "$work" # munge wants a way to its socket
daemons=()
end() {
  code=$?
  if ((code != 0)); then tail -n 40 "$work"/*.out "$work"/*.log 2>/dev/null || true; fi
  if [[ -n ${SLURM_CONF:-} ]]; then # no job outlives its Slurm
    timeout 10 scancel --quiet --user="$(id -un)" || true
    for ((i = 0; i < 100; i++)); do
      if [[ -z $(timeout 10 squeue --noheader) ]]; then break; fi
      sleep 0.5
    done
  fi
  if ((${#daemons[@]})); then
    kill "${daemons[@]}" 2>/dev/null || true
    wait "${daemons[@]}" 2>/dev/null || true
  fi
  rm -rf "$work"
  exit "$code"
}
trap end EXIT
trap 'exit 143' TERM INT

until_true() { # SECONDS WHAT COMMAND...
  local deadline=$((SECONDS + $1)) what=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    if ((SECONDS > deadline)); then
      echo "error: waited in vain for: $what" >&2
      exit 1
    fi
    sleep 0.2
  done
}

host=$(hostname -s)
python=${PYTHON:-python}
ports=$("$python" -c 'import socket
sockets = [socket.socket() for _ in range(2)]
print(*[s.bind(("127.0.0.1", 0)) or s.getsockname()[1] for s in sockets])')
head -c 128 /dev/urandom >"$work/munge.key"
chmod 600 "$work/munge.key"
cat >"$work/slurm.conf" <<CONF
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
AuthType=auth/munge
# A job that is queued again may start after cred_expire seconds, by default 120.
AuthInfo=socket=$work/munge.socket,cred_expire=5
StateSaveLocation=$work/state
SlurmdSpoolDir=$work/spool
SlurmctldPidFile=$work/slurmctld.pid
SlurmdPidFile=$work/slurmd.pid
SlurmctldPort=${ports% *}
SlurmdPort=${ports#* }
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
MailProg=/bin/true
# The machine may have fewer processors and memory than this says.
SlurmdParameters=config_overrides
# Look for jobs to start every second.
SchedulerParameters=bf_interval=1,sched_interval=1,sched_min_interval=0
GresTypes=gpu
NodeName=localhost NodeHostname=$host NodeAddr=127.0.0.1 CPUs=4 Gres=gpu:2 State=UNKNOWN
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
PartitionName=low Nodes=ALL Default=YES PriorityTier=1 GraceTime=60 State=UP
PartitionName=high Nodes=ALL PriorityTier=2 State=UP
CONF
printf 'Name=gpu File=/dev/%s\n' zero full >"$work/gres.conf" # stand for GPUs; the tasks take the CPU
echo "CgroupPlugin=cgroup/v1" >"$work/cgroup.conf" # not used, and slurmd looks for it
mkdir "$work/state" "$work/spool"
export SLURM_CONF=$work/slurm.conf

munged --foreground --force --num-threads=2 --key-file="$work/munge.key" --socket="$work/munge.socket" \
  --pid-file="$work/munge.pid" --log-file="$work/munge.log" --seed-file="$work/munge.seed" &
daemons+=($!)
until_true 10 "munged" test -S "$work/munge.socket"
slurmctld -D -c >"$work/slurmctld.log" 2>&1 &
daemons+=($!)
until_true 20 "slurmctld" scontrol ping
slurmd -D -N localhost >"$work/slurmd.log" 2>&1 &
daemons+=($!)
idle() { [[ $(sinfo --noheader --format=%T) == idle ]]; }
until_true 30 "an idle node" idle
echo "Slurm is up after $SECONDS s"

export PYTHONPATH=$PWD JAX_PLATFORMS=cpu XLA_FLAGS=--xla_force_host_platform_device_count=1 PYTHON=$python
export JAX_DISABLE_MOST_OPTIMIZATIONS=1 # quicker to compile
arguments=(--config=configs/digits.py:simsiam --config.width=4 --config.d_hid=32 --config.batch_size=32
  '--config.train_split=train[:128]' --config.epochs=16 --config.log_every=1 --config.monitor_every=0 --config.native=off)
run=$work/run
output=$work/run.out

sha256() { grep -o 'parameters sha256 [0-9a-f]*' "$1"; }
reached() { [[ -s $run/metrics.jsonl && $(wc -l <"$run/metrics.jsonl") -ge $1 ]]; }
prints() { [[ $(grep -c "$2" "$1") -eq $3 ]]; }
ended() { [[ -z $(squeue --noheader --jobs="$1") ]]; }

# Preempted, with time to end by itself: queued again by the script. Cancelled: not. The tasks are a stand-in for Python.
cat >"$work/saves" <<'STANDIN'
#!/usr/bin/env bash
echo starts
trap 'exit 143' TERM
for ((i = 0; i < 600; i++)); do sleep 0.1; done
STANDIN
chmod +x "$work/saves"
for script in slurm slurm_eval; do
  job=$(PYTHON=$work/saves sbatch --parsable --gpus-per-node=1 --ntasks-per-node=1 --cpus-per-task=4 \
    --output="$work/$script.out" "launch/$script.sbatch")
  until_true 20 "the start of launch/$script.sbatch" prints "$work/$script.out" starts 1
  sbatch --quiet --partition=high --exclusive --output=/dev/null --wrap='sleep 0.1'
  until_true 60 "launch/$script.sbatch after a preemption" prints "$work/$script.out" starts 2
  scancel "$job"
  until_true 20 "the end of launch/$script.sbatch" ended "$job"
  [[ $(scontrol --oneliner show job "$job") == *JobState=CANCELLED*' Restarts=1 '* ]]
done
echo "preempted and started again, then cancelled ($SECONDS s)"

launch/local.sh 2 -- "${arguments[@]}" --workdir="$work/reference" >"$work/reference.out" 2>&1
echo "two processes without a stop: $(sha256 "$work/reference.out") ($SECONDS s)"

job=$(sbatch --parsable --ntasks-per-node=2 --gpus-per-node=2 --cpus-per-task=1 --output="$output" \
  launch/slurm.sbatch "${arguments[@]}" --workdir="$run")
until_true 240 "the first steps of the job" reached 10
scancel --batch --signal=USR1 "$job" # what --signal=B:USR1@120 sends before the time limit
until_true 60 "the save before the time limit" prints "$output" "stopped by SIGTERM; step" 1
stopped_at=$(wc -l <"$run/metrics.jsonl")
echo "out of time at step $stopped_at ($SECONDS s)"
until_true 240 "the steps after the first continuation" reached $((stopped_at + 10))
scontrol requeue "$job" # what an administrator does, and Slurm at a preemption without a GraceTime
until_true 60 "the save at the preemption" prints "$output" "stopped by SIGTERM; step" 2
echo "queued again at step $(wc -l <"$run/metrics.jsonl") ($SECONDS s)"
until_true 600 "the end of the job" ended "$job"
echo "the job, started three times: $(sha256 "$output") ($SECONDS s)"
[[ $(scontrol --oneliner show job "$job") == *" Restarts=2 "* ]]
[[ $(grep -c 'continuing at step' "$output") -eq 2 ]]
[[ $(sha256 "$output") == "$(sha256 "$work/reference.out")" ]]

sbatch --quiet --wait --output="$work/eval.out" --cpus-per-task=1 launch/slurm_eval.sbatch --workdir="$run" \
  --config=configs/knn_eval.py --config.knn.k=5
grep 'untrained' "$work/eval.out"
[[ $(wc -l <"$run"/eval/knn-*.jsonl) -ge 2 ]]
echo "evaluated ($SECONDS s)"

# Two runs as an array job, the second of which is out of time once: it alone starts again. Its number is that of the
# whole array, as that of each array's last task is.
cp -rL configs "$work/configs"
cat >"$work/configs/experiments/tiny.py" <<'EXPERIMENT'
from sidae_jax.experiments import Evaluation, Experiment, Pretraining

CHANGES = {"width": 4, "d_hid": 32, "batch_size": 32, "train_split": "train[:128]", "epochs": 10, "log_every": 1}


def get_experiment():
    return Experiment("Tiny", [(Pretraining("digits", "simsiam", CHANGES), [Evaluation("knn_eval", {"knn.k": 5})])])
EXPERIMENT
"$python" -m sidae_jax.sweep --experiment="$work/configs/experiments/tiny.py" --workdir="$work/sweep" --seeds=3 \
  --print | tail -n 2 >"$work/commands.txt" # the first one also draws pictures
array=$(sbatch --parsable --array="1-$(wc -l <"$work/commands.txt")" --cpus-per-task=1 \
  --output="$work/array-%a.out" launch/slurm_array.sbatch "$work/commands.txt")
run=$(sed -n '2s/.*main --workdir=\([^ ]*\) .*/\1/p' "$work/commands.txt")
until_true 240 "the first steps of array task 2" reached 5
scancel --batch --signal=USR1 "${array}_2"
until_true 600 "the end of the array" ended "$array"
[[ $(grep -c 'continuing at step' "$work/array-2.out") -eq 1 && $(grep -c 'done: step 40' "$work/array-2.out") -eq 1 ]]
[[ $(grep -c 'continuing at step' "$work/array-1.out") -eq 0 && $(grep -c 'done: step 40' "$work/array-1.out") -eq 1 ]]
for seed in 1 2; do
  [[ $(wc -l <"${run%/*}/seed$seed"/eval/knn-*.jsonl) -ge 2 ]]
done
echo "array: two runs trained and evaluated, one of them started twice ($SECONDS s)"
