# shellcheck shell=bash disable=SC2034,SC2209 # read by jobs/lib/site.sh, not run
# Example: the program from a container image (env/apptainer.def) on a cluster with Apptainer.
hosts="*.apptainer.example"
account=my-project
partition=gpu
time=08:00:00
nodes=1
gpus_per_node=4
cpus_per_rank=12
container=apptainer
image=/project/containers/qsweep.sif
program=/opt/qsweep/bin/qsweep
# Beside the project's own folder: where models, data and run folders lie.
mounts="/project /scratch"
# The host's srun starts the image's Open MPI: both must speak the same PMIx (qsweep doctor tells).
launcher=pmix
