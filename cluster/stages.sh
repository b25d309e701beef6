# shellcheck shell=bash
# What the batch scripts share; they source it from the root of the project.

export HF_HUB_OFFLINE=1 HF_DATASETS_OFFLINE=1 # nodes have no internet: `make fetch` brings the data before
[[ -z ${SLURM_CPUS_PER_TASK:-} ]] || export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK # srun no longer asks sbatch

python=${PYTHON:-.venv/bin/python}
export TORCH_ELASTIC_SHUTDOWN_TIMEOUT=100 # seconds that torchrun, where it knows of them, lets its processes save
printf -v began '%(%s)T'
rendezvous=$(hostname):$((20000 + SLURM_JOB_ID % 20000)) # the batch script runs on the job's first node

# A job step. When it was stopped and has saved its work (75), the job goes back into the queue and on from there later;
# but not for ever, where a stage that begins anew takes longer than a turn.
step() {
  local code=0
  srun --wait=120 "$@" || code=$?
  if ((code == 75)); then
    local saved=(-name manifest.json -o -name training.json -o -path '*/checkpoints/*' -o -path '*/extract.part/counts/*')
    if [[ -z $(find runs/ -newermt "@$began" \( "${saved[@]}" \) -print -quit) ]]; then
      echo "stopped by a signal, and nothing was finished or saved in this turn: give the job a longer --time" >&2
      exit 1
    fi
    echo "stopped by a signal: back into the queue"
    scontrol requeue "$SLURM_JOB_ID"
  fi
  ((code == 0)) || exit "$code"
}

# alone STAGE CONFIG [key=value ...]: bring a stage up to date, with all that it needs, in one process
alone() {
  step --nodes=1 --ntasks=1 cluster/task.sh "$python" -m pipeline "$@"
}

# together STAGE CONFIG [key=value ...]: run a stage on all nodes, one process a GPU, or one a node where there is none
together() {
  local stage=$1
  shift
  step --ntasks-per-node=1 cluster/task.sh "$python" -m torch.distributed.run \
    --nnodes="$SLURM_JOB_NUM_NODES" --nproc-per-node="${SLURM_GPUS_ON_NODE:-1}" \
    --rdzv-backend=c10d --rdzv-endpoint="$rendezvous" --rdzv-id="$SLURM_JOB_ID-${SLURM_RESTART_COUNT:-0}" \
    -m "pipeline.$stage" "$@"
}

# whole_line CONFIG [key=value ...]
whole_line() {
  alone encode "$@"
  together pretrain "$@"
  together finetune "$@"
  alone report "$@"
}
