# shellcheck shell=bash disable=SC2034,SC2209 # read by jobs/lib/site.sh, not run
# A single machine without a scheduler: submit.sh runs sweep and reducer here.
scheduler=none
time=7-00:00:00
ranks_per_node=1
gpus_per_node=1
launcher=mpirun
