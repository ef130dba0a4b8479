# shellcheck shell=bash disable=SC2034,SC2209 # read by jobs/lib/site.sh, not run
# Any Slurm cluster whose defaults are fine: one CPU node, the default account and partition. Used where no other
# site's hosts= match; a start for a file of your own (env/README.md says what every setting means).
time=04:00:00
nodes=1
ranks_per_node=1
launcher=auto
