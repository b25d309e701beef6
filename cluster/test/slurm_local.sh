#!/usr/bin/env bash
# Try cluster/many_nodes.sbatch on a real SLURM of two virtual nodes on this machine: a run that is stopped by SIGTERM,
# and then requeued, must end in the weights of a run that was left alone.
#
#   sudo apt-get install slurmctld slurmd slurm-client munge     # Debian or Ubuntu
#   sudo cluster/test/slurm_local.sh
#
# Needs root, for the daemons. PYTHON names another Python than .venv/bin/python. Everything is in a temporary folder.
set -euo pipefail
cd "$(dirname "$0")/../.."

fail() {
  echo "error: $*" >&2
  exit 2
}
for program in slurmctld slurmd sbatch munged; do
  command -v "$program" >/dev/null || fail "$program is missing: apt-get install slurmctld slurmd slurm-client munge"
done
((EUID == 0)) || fail "the daemons need root: start this with sudo"

PYTHON=$(realpath --no-symlinks "${PYTHON:-.venv/bin/python}")
export PYTHON OMP_NUM_THREADS=1
settings=(configs/demo.yaml pretrain.{max_steps=120,precision=fp32,compile=never,checkpoint_minutes=0.001})
tmp=$(mktemp -d /tmp/slurm-local-XXXXXX)
export SLURM_CONF=$tmp/etc/slurm.conf

say() { printf '%s  %s\n' "$(date +%T)" "$*"; }

start_slurm() {
  local host
  host=$(hostname -s)
  chmod 755 "$tmp"
  mkdir -p "$tmp"/{etc,munge,state,spool-n1,spool-n2}
  head -c 128 /dev/urandom >"$tmp/munge/key"
  chmod 400 "$tmp/munge/key"
  chown -R munge: "$tmp/munge"
  runuser -u munge -- munged --key-file="$tmp/munge/key" --socket="$tmp/munge/socket" --pid-file="$tmp/munge/pid" \
    --log-file="$tmp/munge/log" --seed-file="$tmp/munge/seed"
  printf 'CgroupPlugin=cgroup/v1\nCgroupAutomount=no\n' >"$tmp/etc/cgroup.conf"
  cat >"$SLURM_CONF" <<EOF
ClusterName=local
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=17000
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$tmp/munge/socket,cred_expire=10
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=5,bf_interval=5
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=30
StateSaveLocation=$tmp/state
SlurmdSpoolDir=$tmp/spool-%n
SlurmctldPidFile=$tmp/slurmctld.pid
SlurmdPidFile=$tmp/slurmd-%n.pid
SlurmctldLogFile=$tmp/slurmctld.log
SlurmdLogFile=$tmp/slurmd-%n.log
NodeName=n1 NodeHostname=$host NodeAddr=127.0.0.1 Port=17001 CPUs=1
NodeName=n2 NodeHostname=$host NodeAddr=127.0.0.1 Port=17002 CPUs=1
PartitionName=all Nodes=n1,n2 Default=YES State=UP
EOF
  slurmctld -c
  slurmd -N n1 -c
  slurmd -N n2 -c
}

stop_slurm() {
  scancel --me --full || true
  for _ in {1..40}; do [[ $(squeue --noheader) ]] && sleep 1; done
  scontrol shutdown || true
  sleep 2
  [[ ! -e $tmp/munge/pid ]] || kill "$(cat "$tmp/munge/pid")"
  rm -rf "$tmp"
}

# submit FOLDER: start a run in a copy of the project of its own; prints the job's number
submit() {
  mkdir -p "$tmp/$1/corpora"
  cp -r pipeline configs cluster "$tmp/$1"
  cp -r corpora/demo "$tmp/$1/corpora"
  sbatch --parsable --chdir="$tmp/$1" --time=30 "$tmp/$1/cluster/many_nodes.sbatch" "${settings[@]}"
}

# what SLURM knows of the job: its JobState, its Restarts
field() {
  scontrol show job "$job" | grep -oP "\b$1=\K\S+"
}

alive() {
  [[ ! $(field JobState) =~ FAILED|TIMEOUT|CANCELLED|NODE_FAIL ]] || fail "job $job has failed: $(cat "$tmp"/*/*-"$job".log)"
}

newest_checkpoint() { # FOLDER
  (cd "$tmp/$1/runs/demo/pretrain.part/checkpoints" 2>/dev/null && compgen -G 'step-*[0-9]' | sort | tail -n 1) || true
}

until_step() { # FOLDER NUMBER: wait for the checkpoint of that step or a later one
  local newest=
  until [[ $newest > $(printf 'step-%08d' "$(($2 - 1))") ]]; do
    alive
    sleep 0.2
    newest=$(newest_checkpoint "$1")
  done
  say "newest checkpoint: $newest"
}

until_field() { # NAME VALUE
  until [[ $(field "$1") == "$2" ]]; do
    alive
    sleep 0.2
  done
}

trap stop_slurm EXIT
start_slurm
until [[ $(sinfo --noheader --states=idle --format=%D) == 2 ]]; do sleep 0.5; done
sinfo

job=$(submit left-alone)
say "job $job: left alone"
until_field JobState COMPLETED

job=$(submit interrupted)
say "job $job: to be interrupted"
until_step interrupted 30
say "scancel --signal=TERM $job"
scancel --signal=TERM "$job"
until_field Restarts 1
say "restarts: 1, state: $(field JobState)"
until_step interrupted 70
say "scontrol requeue $job"
scontrol requeue "$job"
until_field JobState COMPLETED
say "restarts: $(field Restarts), state: COMPLETED; its log:"
cat "$tmp/interrupted/akshara-pretrain-$job.log"

(cd "$tmp" && sha256sum ./*/runs/demo/pretrain/model.safetensors)
cmp "$tmp"/{left-alone,interrupted}/runs/demo/pretrain/model.safetensors
say "the weights are the same, bit for bit"
