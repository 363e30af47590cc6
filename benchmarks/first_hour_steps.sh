#!/usr/bin/env bash
# The steps of first_hour.sh, which sources this file: it has the options, `step`, and the two environments' Pythons.
# shellcheck disable=SC2154 # their variables are set there

install() { # install PYTHON PACKAGES...
  local options=()
  [[ -z $wheels ]] || options=(--no-index --find-links="$wheels")
  "$1" -m pip install "${options[@]}" "${@:2}"
}

install_ours() {
  local extras=test,report
  [[ $device == cpu ]] || extras=$cuda,$extras
  "$python" -m venv --clear "$out/venv" && install "$ours" -e ".[$extras]" || return
  [[ $device == cpu ]] || "$ours" -c 'import jax; assert jax.default_backend() == "gpu", f"JAX sees only {jax.devices()}"'
}

# An environment of its own: PyTorch's wheels name one version of each of NVIDIA's libraries, which may not be JAX's.
install_pytorch() {
  "$python" -m venv --clear "$out/venv-pytorch" && install "$theirs" torch numpy pillow
}

machine() {
  local environment
  date
  uname -a
  git rev-parse HEAD
  git status --short
  if [[ $device == gpu ]]; then
    nvidia-smi
    nvidia-smi topo -m
    nvidia-smi -q -d CLOCK,POWER,COMPUTE
  fi
  lscpu
  free -g
  df -h -- "$out"
  for environment in "$ours" "$theirs"; do
    "$environment" --version
    "$environment" -m pip list
  done
  "$ours" -c 'import jax; print(jax.devices())' # if this fails, the step has failed
}

numerical_tests=(tests/test_{golden,golden_baselines,losses,views,conv,step,seeds,features,knn,linear_probe}.py)

# On fake devices: is the installation sound? Not the tests that start whole programs, which take many minutes.
tests_on_cpu() {
  local files=("${numerical_tests[@]}" tests/test_config.py tests/test_checkpoint.py)
  [[ -z $quick ]] || files=(tests/test_losses.py tests/test_config.py)
  JAX_PLATFORMS=cpu "$ours" -m pytest -q "${files[@]}"
}

# Against the references, and what several devices change. One worker: all would take memory of the same card.
tests_on_gpu() {
  local files=("${numerical_tests[@]}")
  [[ -z $quick ]] || files=(tests/test_golden.py tests/test_losses.py)
  XLA_PYTHON_CLIENT_PREALLOCATE=false "$ours" -m pytest -q -n 0 "${files[@]}"
}

throughput() { # throughput NAME OPTIONS...
  local options=(--device="$device" --output="$out/$1.json")
  [[ -z $quick ]] || options+=(--quick --batch_size=16)
  "$ours" benchmarks/throughput.py "${options[@]}" "${@:2}"
}

beside_pytorch() {
  local parts=step,pipeline,evaluate,start precisions=float32,tensorfloat32,bfloat16
  [[ -z $quick ]] || parts=step,pipeline,evaluate
  [[ $device == gpu ]] || precisions=float32,bfloat16 # a CPU has no TF32
  throughput throughput --pytorch_python="$theirs" --parts="$parts" --precisions="$precisions"
}

pretrain() { # pretrain METHOD
  local options=(--config="$config:$1" --workdir="$out/runs/$dataset-$1" --config.epochs="$epochs")
  [[ -z $quick ]] || options+=(--config.train_split='train[:512]')
  "$ours" -m sidae_jax.main "${options[@]}"
}

evaluate() { # evaluate METHOD PROTOCOL [OPTIONS...]
  local options=(--workdir="$out/runs/$dataset-$1" --config="configs/$2.py")
  [[ -z $quick ]] || options+=(--config.train_split='train[:512]' --config.test_split='test[:128]')
  [[ -z $quick || $2 == knn_eval ]] || options+=(--config.probe.epochs=2)
  "$ours" -m sidae_jax.linear_eval "${options[@]}" "${@:3}"
}

all_steps() {
  local method dataset=cifar10 config=configs/cifar10.py
  [[ -z $quick ]] || dataset=digits config=configs/digits.py
  step install install_ours || return # nothing works without it
  step install-pytorch install_pytorch
  step machine machine
  step tests-cpu tests_on_cpu
  [[ $device == cpu ]] || step tests-gpu tests_on_gpu
  step throughput beside_pytorch
  [[ $device == cpu ]] || step growth throughput growth --parts=growth
  for method in sidae simsiam dae; do
    if step "$method" pretrain "$method"; then
      step "$method-linear1" evaluate "$method" linear_eval --config.label_fraction=0.01
      step "$method-linear100" evaluate "$method" linear_eval
      step "$method-knn" evaluate "$method" knn_eval
    fi
  done
  step report "$ours" -m sidae_jax.report --workdir="$out/runs" --out="$out/report"
}
