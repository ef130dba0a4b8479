"""A private Slurm for tests: munged, slurmctld and one slurmd a fake node, with fake GPUs, in a scratch folder.

Everything runs in process, mount and network namespaces of its own: nothing is left behind, whatever happens, and no
packet gets out, for there is no route. Each node has a host name and a /dev/shm of its own, as MPI wants it.
"""

import contextlib
import os
import pathlib
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time

INSIDE = "QSWEEP_SLURM_NAMESPACE"
NEEDED = {"slurmctld": "slurmctld", "slurmd": "slurmd", "sbatch": "slurm-client", "munged": "munge",
          "mpirun": "openmpi-bin", "ip": "iproute2"}
SKIPPED = 77
# For one command of Slurm; with slurmctld dead they would wait for ever.
COMMAND_S = 30
# For the daemons to come up and for nodes to be idle. Generous: on a machine with much else to do all of it is slow.
READY_S = 120
# After this long a node that does not answer is down and its jobs are queued again, so it is more than a busy machine
# keeps a slurmd waiting; and the pause between TERM and KILL. A requeued job waits for its credentials to expire: 5 s,
# as less is taken for the default of two minutes. GRACE_S is what a job has between preemption's warning and its end.
SLURMD_TIMEOUT_S, KILL_WAIT_S, GRACE_S = 30, 2, 15
PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"

CONF = """
ClusterName=private
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
SlurmctldPort={port}
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket,cred_expire=5
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
TmpFS={folder}/scratch/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0,sched_min_interval=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmctldParameters=preempt_send_user_signal
MpiDefault=pmix
MpiParams=ports={step_ports}
SrunPortRange={srun_ports}
SwitchType=switch/none
ReturnToService=2
SlurmdParameters=config_overrides
PropagateResourceLimits=NONE
KillWait={kill_wait}
InactiveLimit=0
MinJobAge=3600
SlurmdTimeout={slurmd_timeout}
MessageTimeout=20
UnkillableStepTimeout=30
JobRequeue=1
MailProg=/bin/true
GresTypes=gpu
PartitionName=main Nodes=ALL Default=YES MaxTime=1:00:00 State=UP PriorityTier=1 PreemptMode=REQUEUE GraceTime={grace}
PartitionName=urgent Nodes=ALL Default=NO MaxTime=1:00:00 State=UP PriorityTier=10 PreemptMode=OFF
"""
NODE = ("NodeName={name} NodeHostname={name} NodeAddr=127.0.0.1 Port={port} CPUs={cpus} Boards=1 SocketsPerBoard=1 "
        "CoresPerSocket={cpus} ThreadsPerCore=1 RealMemory=4000 Gres=gpu:2 State=UNKNOWN\n")


def skip(reason, promised):
    print(f"skipped: {reason}")
    sys.exit(1 if promised and os.environ.get("QSWEEP_REQUIRE_ALL") == "1" else SKIPPED)


def enter():
    """Starts this script again inside its namespaces, or skips aloud where that or Slurm is not to be had."""
    if os.environ.get(INSIDE) == "1":
        for words in (["link", "set", "lo", "up"], ["link", "add", "v0", "type", "veth", "peer", "name", "v1"],
                      ["addr", "add", "10.77.0.1/24", "dev", "v0"], ["link", "set", "v0", "up"],
                      ["link", "set", "v1", "up"]):
            subprocess.run(["ip", *words], check=True, env={**os.environ, "PATH": PATH})
        return
    root = os.getuid() == 0
    missing = sorted({package for command, package in NEEDED.items() if not shutil.which(command, path=PATH)})
    if missing:
        skip(f"no private Slurm without {', '.join(missing)} (env/bootstrap.sh --test installs them)", promised=root)
    spaces = ["unshare", "--pid", "--fork", "--kill-child=KILL", "--mount", "--mount-proc", "--net",
              "--propagation", "private"]
    probe = "ip link add v0 type veth peer name v1 && d=$(mktemp -d) && mknod $d/n c 1 3; e=$?; rm -rf $d; exit $e"
    if not root or subprocess.run([*spaces, "sh", "-c", probe], capture_output=True, check=False,
                                          env={**os.environ, "PATH": PATH}).returncode != 0:
        skip("namespaces, a pair of virtual network cards and device nodes need root", promised=False)
    os.environ[INSIDE] = "1"
    os.environ["PATH"] = PATH
    os.execvp(spaces[0], [*spaces, sys.executable, *sys.argv])


class Cluster:
    """The daemons, from start to stop, and the few commands that the tests need."""

    def __init__(self, nodes=2, cpus=8):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="qsweep-slurm-"))
        self.folder.chmod(0o755)
        self.nodes = [f"node{i}" for i in range(1, nodes + 1)]
        self.cpus, self.daemons = cpus, {}
        self.config = self.folder / "slurm.conf"
        os.environ["SLURM_CONF"] = str(self.config)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # what jobs of a test leave behind goes with its folder

    def start(self):
        for name in ("state", "log", "spool", "scratch", "munge", "dev"):
            (self.folder / name).mkdir()
        self._write_config()
        key = self.folder / "munge/key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        munge = self.folder / "munge"
        subprocess.run(["munged", f"--key-file={key}", f"--socket={munge}/socket", f"--pid-file={munge}/pid",
                        f"--log-file={munge}/log", f"--seed-file={munge}/seed", "--num-threads=2"],
                       check=True, timeout=COMMAND_S)
        self.daemons["slurmctld"] = self._daemon("slurmctld", ["slurmctld", "-c", "-D", "-f", self.config])
        for node in self.nodes:
            self.start_node(node)
        self.wait_idle()

    def _write_config(self):
        base = 20000  # the network is ours alone
        text = CONF.format(
            host=os.uname().nodename, port=base, folder=self.folder, kill_wait=KILL_WAIT_S,
            slurmd_timeout=SLURMD_TIMEOUT_S, grace=GRACE_S, step_ports=f"{base + 100}-{base + 199}",
            srun_ports=f"{base + 200}-{base + 299}")
        for number, node in enumerate(self.nodes, 1):
            text += NODE.format(name=node, port=base + number, cpus=self.cpus)
        self.config.write_text(text)
        for gpu in (0, 1):  # a stand-in that can be opened: the device of /dev/null
            os.mknod(self.folder / f"dev/nvidia{gpu}", 0o666 | 0o020000, os.makedev(1, 3))
        (self.folder / "gres.conf").write_text(
            f"AutoDetect=off\nNodeName={self.nodes[0]},{','.join(self.nodes[1:])} Name=gpu "
            f"File={self.folder}/dev/nvidia[0-1]\n")
        (self.folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\nCgroupAutomount=no\nConstrainCores=no\n"
                                                 "ConstrainRAMSpace=no\nConstrainDevices=no\n")
        hosts = pathlib.Path("/etc/hosts").read_text() + "".join(f"127.0.0.1 {node}\n" for node in self.nodes)
        (self.folder / "hosts").write_text(hosts)

    def _daemon(self, name, command):
        with open(self.folder / f"log/{name}.out", "ab") as out:
            return subprocess.Popen(list(map(str, command)), stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                    start_new_session=True)

    def start_node(self, node):
        for folder in ("spool", "scratch"):
            (self.folder / folder / node).mkdir(exist_ok=True)
        setup = ('hostname "$1" && mount -t tmpfs -o mode=1777 tmpfs /dev/shm && mount --bind "$2/hosts" /etc/hosts && '
                 'exec slurmd -D -N "$1" -f "$2/slurm.conf"')
        self.daemons[node] = self._daemon(f"slurmd.{node}", ["unshare", "--uts", "--ipc", "--mount", "--propagation",
                                                            "private", "sh", "-c", setup, "sh", node, self.folder])

    def resume(self, node, seconds=READY_S):
        """Back to work after an administrator's `down`, as soon as its slurmd has spoken."""
        end = time.monotonic() + seconds
        while "down" in run_slurm("sinfo", "-h", "-n", node, "-p", "main", "-o", "%T"):
            assert time.monotonic() < end, self.logs()
            run_slurm("scontrol", "update", f"nodename={node}", "state=resume", check=False)
            time.sleep(0.2)

    def kill_daemon(self, name):
        self.daemons[name].kill()
        self.daemons[name].wait(COMMAND_S)

    def wait_idle(self, seconds=READY_S):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            states = run_slurm("sinfo", "-h", "-N", "-p", "main", "-o", "%T", check=False).split()
            if states == ["idle"] * len(self.nodes):
                return
            time.sleep(0.1)
        raise AssertionError(f"the cluster is not idle: {states}\n{self.logs()}")

    def restore(self):
        """Whatever a test has left: no jobs, all nodes there."""
        run_slurm("scancel", "-u", "root", check=False)
        for node in self.nodes:
            if self.daemons[node].poll() is not None:
                self.start_node(node)
        self.wait_idle()

    def logs(self, lines=15):
        return "\n".join(f"== {log.name}\n" + "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
                         for log in sorted((self.folder / "log").iterdir()))

    def stop(self):
        run_slurm("scancel", "-u", "root", check=False)
        for process in self.daemons.values():
            process.terminate()
        for process in self.daemons.values():
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
        with contextlib.suppress(OSError, ValueError):
            os.kill(int((self.folder / "munge/pid").read_text()), signal.SIGTERM)
        shutil.rmtree(self.folder, ignore_errors=True)


def run_slurm(*command, check=True, **options):
    """One command of Slurm with a limit; returns what it prints."""
    try:
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=COMMAND_S, check=False,
                              **options)
    except subprocess.TimeoutExpired:
        if check:
            raise
        return ""
    if check and done.returncode != 0:
        raise AssertionError(f"{command}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def job(number):
    """{field: value} of a job as the controller knows it."""
    text = run_slurm("scontrol", "show", "job", "-o", number)
    return dict(re.findall(r"(\S+?)=(\S*)", text))


def wait_for_job(number, seconds, until=lambda fields: fields["JobState"] not in UNFINISHED):
    """Polls until the job has ended (or `until` holds); returns its fields."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        fields = job(number)
        if until(fields):
            return fields
        time.sleep(0.1)
    raise AssertionError(f"job {number} is {fields['JobState']} ({fields['Reason']}) after {seconds} s")


UNFINISHED = ("PENDING", "RUNNING", "COMPLETING", "CONFIGURING", "SUSPENDED", "REQUEUED", "REQUEUE_HOLD",
              "PREEMPTED", "SIGNALING")


def exit_code(fields):
    """The batch script's own code."""
    return int(fields["ExitCode"].split(":")[0])
