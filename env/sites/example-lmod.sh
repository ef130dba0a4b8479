# shellcheck shell=bash disable=SC2034,SC2209 # read by jobs/lib/site.sh, not run
# Example: a cluster with Lmod modules and four H100 a node. Copy it under your cluster's name and change the values.
hosts="login*.cluster.example node[0-9]*.cluster.example"
account=my-project
partition=gpu
reduce_partition=cpu
qos=normal
time=12:00:00
nodes=2
gpus_per_node=4
gpu_type=h100
cpus_per_rank=8
memory_per_node=240G
# Order matters: compiler, then MPI, then libraries built with it.
modules="gcc/12.2.0 openmpi/4.1.4 cuda/13.0 hdf5/1.14.3"
launcher=pmix
environment="UCX_TLS=rc,sm,self NCCL_SOCKET_IFNAME=ib0"
signal_seconds=180
# Of one GPU, for the plan on a login node without one: bf16 matrix products and memory.
flops=4e14
bandwidth=2.5e12
