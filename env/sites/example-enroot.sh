# shellcheck shell=bash disable=SC2034,SC2209 # read by jobs/lib/site.sh, not run
# Example: the program from a container image on a cluster whose Slurm has the Pyxis plugin (Enroot).
hosts="*.enroot.example"
account=my-project
partition=batch
time=04:00:00
nodes=1
gpus_per_node=8
container=enroot
image=/project/containers/qsweep.sqsh
program=/opt/qsweep/bin/qsweep
mounts="/project"
launcher=pmix
