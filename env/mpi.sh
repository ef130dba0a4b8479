# shellcheck shell=bash
# Sourced: settings with which Open MPI starts ranks on a workstation, in a container and in CI alike.
# Open MPI 4 reads OMPI_MCA_*, Open MPI 5 reads PRTE_MCA_*; other MPIs ignore both.

# In a container the only user is often root; Open MPI wants to be told twice.
if [[ $(id -u) == 0 ]]; then
  export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
fi
# More ranks than cores are slow, not wrong.
export OMPI_MCA_rmaps_base_oversubscribe=1 PRTE_MCA_rmaps_default_mapping_policy=:oversubscribe
# A rank's threads need all of its cores, not the one that it would be bound to.
export OMPI_MCA_hwloc_base_binding_policy=none PRTE_MCA_hwloc_default_binding_policy=none
# Containers forbid reading another process's memory; plain shared memory does.
export OMPI_MCA_btl_vader_single_copy_mechanism=none OMPI_MCA_btl_sm_single_copy_mechanism=none
export OMPI_MCA_btl_base_warn_component_unused=0
